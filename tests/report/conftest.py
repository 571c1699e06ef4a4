"""A finished pipeline's files, made up: what the report reads without anything having been trained."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from thawline.artifacts import REVIEW, Artifacts
from thawline.choose_source.decision import COLUMNS as SOURCES
from thawline.config.sections import Config, Evaluate
from thawline.depth_curve import COLUMNS
from thawline.evaluation.summary import measured
from thawline.evaluation.tables import Predicted, Truth, write_tables
from thawline.report.figures import style
from thawline.report.findings import Findings, read_findings
from thawline.review.findings import MorePictures, Point, Review, write_review

UNITS = (
    "conv1",
    "layer1.0",
    "layer1.1",
    "layer2.0",
    "layer2.1",
    "layer3.0",
    "layer3.1",
    "layer4.0",
    "layer4.1",
)

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
    choices: bool = False
    """Whether it searched more than depth and rates."""
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
    artifacts = Artifacts.under(root)
    generator = np.random.default_rng(0)
    metrics = _evaluated(story, artifacts, generator)
    _dump(artifacts.reports / "metrics.json", metrics)
    for name in story.skill:
        _dump(artifacts.stage_output("search", name) / "recipe.json", recipe(story, name))
        table = trials(story, name, generator)
        table.to_csv(artifacts.stage_output("search", name) / "trials.csv", index=False)
        if story.front and name == "finetuned":
            front(table).to_csv(artifacts.stage_output("search", name) / "pareto.csv", index=False)
        _dump(artifacts.stage_output("search", name) / "costs.json", {"seconds": 60.0 + len(name)})
        folder = artifacts.stage_output("finetune", name)
        _dump(folder / "costs.json", {"seconds": 21.5, "seeds": training_costs(story, name)})
        history(generator, range(story.seeds), story.skill[name]).to_csv(folder / "history.csv", index=False)
    if story.reviewed:
        write_review(artifacts.stage_output("review") / REVIEW, REVIEWED)
    if story.sources:
        sources().to_csv(artifacts.reports / "sources.csv", index=False)
    if story.cuts is not None:
        folder = artifacts.stage_output("search", "linear_probe", "evidence")
        folder.mkdir(parents=True)
        cuts(story.cuts).to_csv(folder / "cuts.csv", index=False)
    if story.curve:
        curve(story).to_csv(artifacts.reports / "depth_curve.csv", index=False)
        _dump(artifacts.reports / "recommendation.json", recommendation())
    pretrain = artifacts.stage_output("pretrain")
    _dump(pretrain / "costs.json", {"seconds": 0.0 if story.weights else 95.0})
    history(generator, () if story.weights else (0,), 3).to_csv(pretrain / "history.csv", index=False)
    return artifacts


def training_costs(story: Story, name: str) -> dict[str, Any]:
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


def _dump(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def _evaluated(story: Story, artifacts: Artifacts, generator: np.random.Generator) -> dict[str, Any]:
    count = len(story.classes)
    labels = np.arange(story.test_pictures) % count
    models = []
    for name, skill in story.skill.items():
        for seed in range(story.seeds):
            logits = 1.6 * generator.normal(size=(story.test_pictures, count))
            logits[np.arange(story.test_pictures), labels] += skill + generator.normal(0, 0.1)
            shares = np.exp(logits)
            models.append(Predicted(name, seed, shares / shares.sum(1, keepdims=True)))
    paths = [f"{number}.png" for number in range(story.test_pictures)]
    truth = Truth(paths, [""] * len(paths), labels, story.classes)
    write_tables(artifacts.stage_output("evaluate"), truth, models, 15)
    per_class = {name: int((labels == index).sum()) for index, name in enumerate(story.classes)}
    sizes = {
        split: {
            "total": total,
            "per_class": per_class if split == "test" else dict.fromkeys(story.classes, total // count),
        }
        for split, total in (("train", 20 * count), ("val", story.val_pictures), ("test", len(labels)))
    }
    return {
        **measured(story.config, labels, models, paths),
        "recipe": recipe(story, "finetuned"),
        "data": {
            "classes": list(story.classes),
            "sizes": sizes,
            "fingerprints": {"target": "a" * 64, "test": "b" * 64},
        },
    }


def recipe(story: Story, name: str) -> dict[str, Any]:
    depth = {"finetuned": story.depth, "linear_probe": len(UNITS), "from_scratch": 0}[name]
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
        "unit": UNITS[depth - 1] if depth else None,
        "selected": {"trial": 7, "val_accuracy": 0.965, "val_loss": 0.12, **story.selected}
        if story.searched
        else None,
    }


def curve(story: Story) -> pd.DataFrame:
    """depth_curve.csv as the stage `evaluate` writes it."""
    depths = np.arange(len(UNITS) + 1)
    val = 0.95 - 0.002 * np.maximum(0, depths - story.depth) ** 2
    best = int(val.argmax())
    table = pd.DataFrame({"depth": depths, "unit": [None, *UNITS], "n_seeds": 5})
    for name, mean in (
        ("val", val),
        ("test", val - 0.02 if story.tested else np.full(len(val), np.nan)),
        ("minus_full", val - val[0]),
        ("minus_probe", val - val[-1]),
        ("minus_best", val - val[best]),
    ):
        half = np.where(depths == best, 0, 0.02) if name == "minus_best" else 0.02
        table = table.assign(
            **{f"{name}_mean": mean, f"{name}_low": mean - half, f"{name}_high": mean + half}
        )
    more = {"seconds": 9 - 0.7 * depths, "trainable_parameters": 11_000_000 // (depths + 1)}
    return table.assign(**more)[list(COLUMNS)]


def cuts(chosen: str) -> pd.DataFrame:
    """As the search writes it: single cuts, of which the fifth tells most, then sets of them."""
    accuracies = {"1": 0.55, "3": 0.71, "5": 0.83, "7": 0.8, "9": 0.78, "5 7 9": 0.87}
    rows = [
        {"cuts": each, "unit": UNITS[int(each[-1]) - 1], "accuracy": value, "loss": 1 - value}
        for each, value in accuracies.items()
    ]
    return pd.DataFrame(rows).assign(pictures=240, chosen=[each == chosen for each in accuracies])


def sources() -> pd.DataFrame:
    """sources.csv as the stage `choose_source` writes it: the chosen one is the second best."""
    rows = {
        "source": ["timm:tf_efficientnet_lite0=efficientnet-lite0", "mobilenet_v2=body.pth", "resnet18"],
        "chosen": [False, True, False],
        "alike": [True, True, False],
        "pictures": 200,
        "accuracy": [0.84, 0.835, 0.6],
        "minus_best": [0.0, -0.005, -0.24],
        "low": [0.0, -0.045, -0.3],
        "high": [0.0, 0.035, -0.18],
        "neighbours": [0.8, 0.81, 0.58],
        "operations": [7.7e8, 6.0e8, 3.6e9],
        "seconds": [0.021, 0.012, 0.04],
    }
    return pd.DataFrame(rows).reindex(columns=SOURCES)


def recommendation() -> dict[str, Any]:
    return {
        "depth": 4,
        "unit": UNITS[3],
        "reason": "Depths 0 to 5 are indistinguishable on your 200 validation pictures; depth 4 is the "
        "cheapest of them that measured within 1 point of the best.",
        "indistinguishable_depths": [0, 1, 2, 3, 4, 5],
        "best_depth": 3,
        "pictures": 200,
        "pictures_needed": 1300,
    }


def front(trials: pd.DataFrame) -> pd.DataFrame:
    """The complete trials that no other one beats in both accuracy and operations."""
    complete = trials[trials["state"] == "complete"].sort_values(
        ["training_flops", "value"], ascending=[True, False]
    )
    best = complete[complete["value"] > complete["value"].cummax().shift(fill_value=0)]
    found = best.rename(columns={"number": "trial", "value": "val_accuracy"})
    return found[
        ["trial", "depth", "unit", "head_lr", "body_lr", "val_accuracy", "training_flops", "seconds"]
    ]


def trials(story: Story, name: str, generator: np.random.Generator) -> pd.DataFrame:
    """Trials as the search writes them; only a header where it was off."""
    columns = [
        "number",
        "state",
        "value",
        "val_loss",
        "depth",
        "unit",
        "head_lr",
        "body_lr",
        "epochs",
        "seconds",
    ]
    rows = []
    for number in range(story.trials if story.searched else 0):
        fixed = {"linear_probe": len(UNITS), "from_scratch": 0}.get(name)
        depth = int(generator.integers(0, len(UNITS) + 1)) if fixed is None else fixed
        head, body = 10 ** generator.uniform(-4, -1), 10 ** generator.uniform(-5, -2)
        whole = name == "finetuned" and depth < len(UNITS)
        value = 0.95 - 0.004 * (depth - story.depth) ** 2 - 0.03 * (np.log10(head) + 2.5) ** 2
        value -= 0.03 * (np.log10(body) + 3) ** 2 if whole else 0
        state = "failed" if number == 5 else "pruned" if value < 0.85 else "complete"
        value = round(float(np.clip(value + generator.normal(0, 0.01), 0, 1)) * 200) / 200
        rows.append(
            [number, state, None if state == "failed" else value, 1 - value, depth,
             UNITS[depth - 1] if depth else None, head, body if whole else None, 30, 3.0]
        )  # fmt: skip
    return _more_columns(story, pd.DataFrame(rows, columns=columns))


def _more_columns(story: Story, table: pd.DataFrame) -> pd.DataFrame:
    order = np.arange(len(table))
    if story.choices:
        table = table.assign(
            weight_decay=np.array([0.0, 0.01, 0.1])[order % 3],
            augmentation=np.array(["none", "standard"])[order % 2],
        )
    if story.timed:
        # two trials side by side, and a night in the middle
        begin = 1.7e9 + 3.0 * (order // 2) + 40_000.0 * (order >= len(table) // 2)
        table = table.assign(started=begin, finished=begin + 3.0 - 0.5 * (order % 2))
    if story.front:
        table = table.assign(training_flops=1e11 * (len(UNITS) + 1 - table["depth"]))
    return table


def history(generator: np.random.Generator, seeds: Any, skill: float) -> pd.DataFrame:
    rows = []
    for seed in seeds:
        for epoch in range(12):
            loss = 2.3 * np.exp(-epoch * skill / 10) + 0.02
            accuracy = min(1.0, 1 - loss / 2.6 + generator.normal(0, 0.01))
            rows.append([seed, epoch, loss * 0.8, loss + 0.05, accuracy, 0.7])
    columns = ["seed", "epoch", "train_loss", "val_loss", "val_accuracy", "seconds"]
    return pd.DataFrame(rows, columns=columns)


Finished = Callable[..., tuple[Config, Artifacts]]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Files of a pipeline that found what the keyword arguments (fields of `Story`) say, made once for all
    tests that only read them."""
    made: dict[str, Artifacts] = {}

    def make(**story: Any) -> tuple[Config, Artifacts]:
        told = Story(**story)
        if repr(told) not in made:
            made[repr(told)] = write_story(told, tmp_path_factory.mktemp("story"))
        return told.config, made[repr(told)]

    return make


@pytest.fixture
def finished(shared: Finished, tmp_path: Path) -> Finished:
    """The same files for one test, which may change them."""

    def make(**story: Any) -> tuple[Config, Artifacts]:
        config, artifacts = shared(**story)
        shutil.copytree(artifacts.root, tmp_path, dirs_exist_ok=True)
        return config, Artifacts.under(tmp_path)

    return make


@pytest.fixture
def found(shared: Finished) -> Callable[..., Findings]:
    """What the report reads of such files."""

    def make(**story: Any) -> Findings:
        config, artifacts = shared(**story)
        return read_findings(artifacts, config.evaluate.confidence)

    return make


@pytest.fixture
def one_theme(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the time that drawing takes; the test of the stage draws both."""
    monkeypatch.setattr(style, "THEMES", style.THEMES[:1])
