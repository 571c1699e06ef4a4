"""A finished pipeline's files, made up: what the report reads without anything having been trained."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tests_story_tables as tables

from thawline.artifacts import REVIEW, Artifacts, write_json, write_table
from thawline.config.sections import Config, Evaluate
from thawline.evaluation.summary import measured
from thawline.evaluation.tables import Predicted, Truth, write_tables
from thawline.review.findings import MorePictures, Point, Review, write_review

_UNITS = tables.UNITS

REVIEWED = Review(
    pictures=400,
    doubtful=3,
    sentence="3 of 400 labels are worth a second look.",
    labels=(),
    more_pictures=MorePictures(
        points=(Point(51, 0.7, 0.66, 0.74), Point(128, 0.78, 0.74, 0.82), Point(320, 0.84, 0.8, 0.87)),
        twice=Point(800, 0.87, 0.82, 0.91),
        sentence="Twice as many pictures (800): +1 to +4 points.",
    ),
)
"""What the stage `review` says where there was one."""

RECOMMENDED = {
    "depth": 4,
    "unit": _UNITS[3],
    "reason": "Depths 0 to 5 are indistinguishable on your 200 validation pictures; depth 4 is the "
    "cheapest of them that measured within 1 point of the best.",
    "indistinguishable_depths": [0, 1, 2, 3, 4, 5],
    "best_depth": 3,
    "pictures": 200,
    "pictures_needed": 1300,
}
"""What recommendation.json says where there was a depth curve."""


_PREDICTED: dict[str, tuple[dict[str, Any], dict[str, bytes], Any]] = {}
"""By what decides them: what was measured, the tables of predictions, and the generator's state thereafter.
They are made once for all stories that differ in something else: thousands of rows are slow to write."""


@dataclass
class Story:
    """What the made-up run found."""

    classes: tuple[str, ...] = tuple("0123456789")
    test_pictures: int = 300
    skill: dict[str, float] = field(
        default_factory=lambda: {"finetuned": 5.0, "linear_probe": 4.0, "from_scratch": 2.5}
    )
    """How far the true class's logit lies above the others', per contender."""
    seeds: int = 3
    searched: bool = True
    weights: bool = False
    depth: int = 3
    val_pictures: int = 200
    trials: int = 30
    recipe: dict[str, Any] = field(default_factory=dict)
    """Fields of the fine-tuned contender's recipe beside its depth."""
    probe: dict[str, Any] = field(default_factory=dict)
    """The same for the linear probe."""
    curve: bool = False
    """Whether the search made a depth curve."""
    tested: bool = True
    """Whether its test columns were filled."""
    front: bool = False
    """Whether the search had two objectives."""
    timed: bool = False
    """Whether trials say when they ran; those of earlier versions do not."""
    selected: dict[str, Any] = field(default_factory=dict)
    """What recipe.json says of the selected trial, beside its score."""
    cuts: str | None = None
    """Of the heads on cuts that were compared, the chosen cuts; None where none were."""
    sources: bool = False
    """Whether several sources were compared."""
    reviewed: bool = False
    """Whether training and validation pictures were looked at."""
    costs_measured: bool = True
    """Whether the trainings say what they cost; those of earlier versions do not."""

    @property
    def config(self) -> Config:
        config = Config(evaluate=Evaluate(resamples=200))
        if self.weights:
            config.source.weights, config.source.dataset = "DEFAULT", None
        return config


def write_story(story: Story, root: Path) -> Artifacts:
    artifacts, generator = Artifacts.under(root), np.random.default_rng(0)
    write_json(artifacts.reports / "metrics.json", _evaluated(story, artifacts, generator))
    for name in story.skill:
        _write_search(story, name, artifacts.stage_output("search", name), generator)
        folder = artifacts.stage_output("finetune", name)
        write_json(folder / "costs.json", {"seconds": 21.5, "seeds": _training_costs(story, name)})
        write_table(folder / "history.csv", tables.history(generator, range(story.seeds), story.skill[name]))
    if story.reviewed:
        write_review(artifacts.stage_output("review") / REVIEW, REVIEWED)
    if story.sources:
        write_table(artifacts.reports / "sources.csv", tables.sources())
    if story.cuts is not None:
        folder = artifacts.stage_output("search", "linear_probe", "evidence")
        write_table(folder / "cuts.csv", tables.cuts(story.cuts))
    if story.curve:
        write_table(artifacts.reports / "depth_curve.csv", tables.curve(story.depth, story.tested))
        write_json(artifacts.reports / "recommendation.json", RECOMMENDED)
    pretrain = artifacts.stage_output("pretrain")
    write_json(pretrain / "costs.json", {"seconds": 0.0 if story.weights else 95.0})
    write_table(pretrain / "history.csv", tables.history(generator, () if story.weights else (0,), 3))
    return artifacts


def _write_search(story: Story, name: str, folder: Path, generator: np.random.Generator) -> None:
    write_json(folder / "recipe.json", _recipe(story, name))
    write_json(folder / "costs.json", {"seconds": 60.0 + len(name)})
    found = tables.trials(name, story.trials if story.searched else 0, story.depth, generator)
    for told, more in (
        (story.timed, tables.times),
        (story.front, tables.operations),
    ):
        found = more(found) if told else found
    write_table(folder / "trials.csv", found)
    if story.front and name == "finetuned":
        write_table(folder / "pareto.csv", tables.front(found))


def _training_costs(story: Story, name: str) -> dict[str, Any]:
    """Per seed, as the stage `finetune` writes it."""
    trained = {"finetuned": 0.6, "linear_probe": 0.001, "from_scratch": 1.0}[name]
    found: dict[str, Any] = {}
    for seed in range(story.seeds):
        found[str(seed)] = {"seconds": 7.0, "epoch": 11}
        if story.costs_measured:
            found[str(seed)]["cost"] = {
                "trainable_parameters": int(11_000_000 * trained),
                "total_parameters": 11_000_000,
                "forward_flops": 74_000_000,
                "step_flops": int(74_000_000 * (1 + 2 * trained)),
                "training_flops": int(74_000_000 * (1 + 2 * trained)) * 12 * 200,
                "seconds_per_epoch": 0.22 + 0.4 * trained + 0.01 * seed,
                "pictures_per_second": 900 / (1 + trained),
                "peak_memory_bytes": 700 * 2**20,
            }
    return found


def _evaluated(story: Story, artifacts: Artifacts, generator: np.random.Generator) -> dict[str, Any]:
    """metrics.json, with the tables of predictions written."""
    count = len(story.classes)
    labels = np.arange(story.test_pictures) % count
    told = repr((story.classes, story.test_pictures, story.skill, story.seeds))
    folder = artifacts.stage_output("evaluate")
    if told not in _PREDICTED:
        metrics = _predicted(story, labels, folder, generator)
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        _PREDICTED[told] = metrics, files, generator.bit_generator.state
    metrics, files, generator.bit_generator.state = _PREDICTED[told]
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    per_class = {name: int((labels == index).sum()) for index, name in enumerate(story.classes)}
    sizes = {
        split: {
            "total": total,
            "per_class": per_class if split == "test" else dict.fromkeys(story.classes, total // count),
        }
        for split, total in (("train", 20 * count), ("val", story.val_pictures), ("test", len(labels)))
    }
    return {
        **metrics,
        "recipe": _recipe(story, "finetuned"),
        "data": {
            "classes": list(story.classes),
            "sizes": sizes,
            "fingerprints": {"target": "a" * 64, "test": "b" * 64},
        },
    }


def _predicted(
    story: Story, labels: np.ndarray, folder: Path, generator: np.random.Generator
) -> dict[str, Any]:
    """Write the tables of predictions and return what is measured of them."""
    count, models = len(story.classes), []
    for name, skill in story.skill.items():
        for seed in range(story.seeds):
            logits = 1.6 * generator.normal(size=(story.test_pictures, count))
            logits[np.arange(story.test_pictures), labels] += skill + generator.normal(0, 0.1)
            shares = np.exp(logits)
            models.append(Predicted(name, seed, shares / shares.sum(1, keepdims=True)))
    paths = [f"{number}.png" for number in range(story.test_pictures)]
    write_tables(folder, Truth(paths, [""] * len(paths), labels, story.classes), models, 15)
    return measured(story.config, labels, models, np.arange(len(labels)))


def _recipe(story: Story, name: str) -> dict[str, Any]:
    """recipe.json of a contender."""
    depth = {"finetuned": story.depth, "linear_probe": len(_UNITS), "from_scratch": 0}[name]
    random = name == "from_scratch"
    return {
        "contender": name,
        "recipe": {
            "start": "random" if random else "source",
            "depth": depth,
            "head_lr": 3.2e-3,
            "body_lr": None if random else 1e-3,
            "epochs": 30,
            "batch_size": 32,
            "optimizer": "adamw",
            "seeds": story.seeds,
            **{"finetuned": story.recipe, "linear_probe": story.probe}.get(name, {}),
        },
        "depth": depth,
        "unit": _UNITS[depth - 1] if depth else None,
        "selected": {"trial": 7, "val_accuracy": 0.965, "val_loss": 0.12, **story.selected}
        if story.searched
        else None,
    }
