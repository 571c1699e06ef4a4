"""The stage, end to end, on a network of a dozen weights."""

import json
import shutil
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from thawline.artifacts import CARD, MODEL, Artifacts, read_json, seed_weights, write_json
from thawline.config.errors import UserError
from thawline.config.sections import Config, Contender, Evaluate, Trainer
from thawline.data.store import open_store, write_store
from thawline.data.transform import Transform
from thawline.depth_curve import write_curve
from thawline.evaluation.evaluate import evaluate
from thawline.evaluation.metrics import METRICS
from thawline.evaluation.tables import read_table
from thawline.models.card import ModelCard
from thawline.models.checkpoint import load_model, save_model
from thawline.models.inference import logits, probabilities
from thawline.training.batches import batches

CLASSES = ("red", "green", "blue")
TRANSFORM = Transform(4, 4, 3, "crop", "bilinear", (0.5,) * 3, (0.25,) * 3)
CONFIG = Config(evaluate=Evaluate(resamples=50, batch_size=7), trainer=Trainer(accelerator="cpu", threads=1))


class Colours(nn.Module):
    """Scores classes by the mean of the channels."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(3, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(images.mean((2, 3)))


@pytest.fixture(autouse=True, scope="module")
def _importable() -> Iterator[None]:
    module = types.ModuleType("tiny_networks")
    module.Colours = Colours  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "tiny_networks", module)
        yield


def pictures(labels: np.ndarray) -> np.ndarray:
    """Each the colour of its class, in noise."""
    noise = np.random.default_rng(0).integers(0, 100, (len(labels), 4, 4, 3))
    return (noise + 120 * np.eye(3, dtype=int)[labels][:, None, None]).astype(np.uint8)


def store(folder: Path, splits: list[str], classes: tuple[str, ...] = CLASSES, **changes: Any) -> None:
    labels = np.arange(len(splits)) % 3
    manifest = pd.DataFrame(
        {
            "path": [f"{folder.name}/{number}.png" for number in range(len(splits))],
            "label": np.array(classes)[labels],
            "split": splits,
            "group": "",
            "content_hash": "x",
            "width": 4,
            "height": 4,
        }
    )
    write_store(folder, pictures(labels), manifest, classes, replace(TRANSFORM, **changes))


def models(folder: Path, strength: float, classes: tuple[str, ...] = CLASSES, seeds: int = 2) -> None:
    card = ModelCard("tiny_networks.Colours", {}, classes, TRANSFORM, "by hand")
    for seed in range(seeds):
        network = Colours(3)
        rows = [CLASSES.index(name) if name in CLASSES else 0 for name in classes]
        network.head.weight.data = strength * torch.eye(3)[rows] + 0.01 * seed
        network.head.bias.data.zero_()
        save_model(folder / "weights" / f"seed_{seed}.safetensors", folder / "card.json", network, card)


def bundle(folder: Path, strength: float) -> None:
    network, card = Colours(3), ModelCard("tiny_networks.Colours", {}, CLASSES, TRANSFORM, "")
    network.head.weight.data = strength * torch.eye(3)
    network.head.bias.data.zero_()
    save_model(folder / MODEL, folder / CARD, network, card)


@pytest.fixture
def finished(tmp_path: Path) -> Artifacts:
    return made(tmp_path)


@pytest.fixture(scope="module")
def evaluated(_importable: None, tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """Such a pipeline after its evaluation."""
    artifacts = made(tmp_path_factory.mktemp("evaluated"))
    assert evaluate(CONFIG, artifacts) == read_json(artifacts.reports / "metrics.json")
    return artifacts


def made(root: Path) -> Artifacts:
    """Make a pipeline whose fine-tuned models know the colours, whose others confuse them all."""
    artifacts = Artifacts.under(root)
    store(artifacts.data_output("target"), ["train"] * 9 + ["val"] * 6)
    store(artifacts.data_output("test"), ["test"] * 30)
    for contender in Contender:
        strength = 5.0 if contender is Contender.finetuned else -5.0
        models(artifacts.stage_output("finetune", contender.name), strength)
    bundle(artifacts.stage_output("export"), 5.0)
    recipe = {"contender": "finetuned", "recipe": {"seeds": 2, "depth": 1}, "depth": 1, "unit": "conv"}
    searched = artifacts.stage_output("search", "finetuned")
    write_json(searched / "recipe.json", recipe)
    write_curve(searched / "evidence" / "depth_curve.csv", pd.DataFrame())
    write_json(searched / "evidence" / "recommendation.json", {"depth": 1, "indistinguishable_depths": []})
    return artifacts


def test_metrics_are_complete(evaluated: Artifacts) -> None:
    returned = read_json(evaluated.reports / "metrics.json")
    # without a reward phase nothing is said of one, and of what varies between runs nothing at all
    assert "reward" not in returned
    assert not any(word in json.dumps(returned) for word in ("seconds", "date", str(evaluated.root)))
    for name in ("finetuned", "linear_probe", "from_scratch", "difference", "difference_linear_probe"):
        assert set(returned[name]) == {*METRICS, "n_test", "seeds"}
        assert all(set(returned[name][metric]) == {"mean", "low", "high"} for metric in METRICS)
        assert (returned[name]["n_test"], returned[name]["seeds"]) == (30, [0, 1])
    # all 30 are right, which is no certainty
    assert returned["finetuned"]["accuracy"] == {"mean": 1, "low": pytest.approx(0.884, abs=0.001), "high": 1}
    assert returned["from_scratch"]["accuracy"]["mean"] == 0
    assert returned["difference"]["accuracy"]["mean"] == 1
    assert returned["recipe"]["unit"] == "conv"


def test_only_the_contenders_that_are_configured_are_measured(finished: Artifacts) -> None:
    shutil.rmtree(finished.stage_output("finetune", "from_scratch"))
    two = [Contender.finetuned, Contender.linear_probe]
    found = evaluate(replace(CONFIG, contenders=two), finished)
    assert {name for name in found if "accuracy" in found[name]} == {
        "finetuned", "linear_probe", "difference_linear_probe",
    }  # fmt: skip
    table = pd.read_csv(finished.stage_output("evaluate") / "predictions.csv")
    assert list(table["contender"].unique()) == ["finetuned", "linear_probe"]


def test_a_network_that_contenders_and_bundle_share_is_asked_once(
    finished: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = finished.stage_output("finetune", "linear_probe")
    shutil.rmtree(shared)
    shutil.copytree(finished.stage_output("finetune", "finetuned"), shared)
    two = replace(CONFIG, contenders=[Contender.finetuned, Contender.linear_probe])
    of_others = []

    def counted(network: nn.Module, *given: Any, **named: Any) -> Any:
        of_others.append(network)
        return logits(network, *given, **named)

    monkeypatch.setattr("thawline.evaluation.asking.logits", counted)
    found = evaluate(two, finished)
    assert len(of_others) == 1  # the first seed's network is the bundle's
    assert found["linear_probe"] == found["finetuned"]
    assert found["difference_linear_probe"]["accuracy"]["mean"] == 0
    numbers = count()
    monkeypatch.setattr("thawline.evaluation.asking._identity", lambda *_: str(next(numbers)))
    assert evaluate(two, finished) == found
    assert len(of_others) == 1 + 4


def test_what_a_contender_says_is_what_its_own_files_say(evaluated: Artifacts) -> None:
    table = read_table(evaluated.stage_output("evaluate") / "predictions.csv")
    test, base = open_store(evaluated.data("test")), evaluated.stage("replace_head") / MODEL
    folder = evaluated.stage("finetune", "finetuned")
    for seed in (0, 1):
        network, _ = load_model(folder / "weights" / seed_weights(seed), folder / CARD, base)
        alone = probabilities(network, batches(test, 7), torch.device("cpu"))
        mine = table[(table["contender"] == "finetuned") & (table["seed"] == seed)]
        np.testing.assert_allclose(mine[[f"p_{name}" for name in CLASSES]], alone, atol=1e-6)


def test_nothing_is_evaluated_without_the_fine_tuned_contender(finished: Artifacts) -> None:
    with pytest.raises(UserError, match="without finetuned there is nothing to compare"):
        evaluate(replace(CONFIG, contenders=[Contender.from_scratch]), finished)


def test_the_data_are_described(evaluated: Artifacts) -> None:
    data = read_json(evaluated.reports / "metrics.json")["data"]
    assert data["classes"] == list(CLASSES)
    assert {split: size["total"] for split, size in data["sizes"].items()} == {
        "train": 9,
        "val": 6,
        "test": 30,
    }
    assert data["sizes"]["train"]["per_class"] == {"red": 3, "green": 3, "blue": 3}
    assert set(data["fingerprints"]) == {"target", "test"}


def test_a_second_run_writes_the_same_bytes(finished: Artifacts) -> None:
    def written() -> dict[str, bytes]:
        evaluate(CONFIG, finished)
        paths = [*finished.stage_output("evaluate").rglob("*"), finished.reports / "metrics.json"]
        return {path.name: path.read_bytes() for path in paths if path.is_file()}

    first = written()
    assert {"predictions.csv", "mistakes.json", "metrics.json"} <= first.keys()
    assert written() == first


def test_predictions_name_pictures_and_models(evaluated: Artifacts) -> None:
    table = read_table(evaluated.stage_output("evaluate") / "predictions.csv")
    assert len(table) == 30 * 3 * 2
    assert table.groupby(["contender", "seed"]).ngroups == 6
    assert (table["correct"] == (table["label"] == table["predicted"])).all()
    shares = table[[f"p_{name}" for name in CLASSES]]
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=5e-6)
    np.testing.assert_allclose(shares.max(axis=1), table["confidence"])


def test_classes_in_another_order_are_matched_by_name(finished: Artifacts) -> None:
    expected = evaluate(CONFIG, finished)["finetuned"]
    models(finished.stage_output("finetune", "finetuned"), 5.0, classes=("blue", "red", "green"))
    assert evaluate(CONFIG, finished)["finetuned"] == expected


def _other_classes(artifacts: Artifacts) -> None:
    models(artifacts.stage_output("finetune", "linear_probe"), 5.0, classes=("red", "green", "violet"))


def _other_transform(artifacts: Artifacts) -> None:
    store(artifacts.data_output("test"), ["test"] * 30, mean=(0.4, 0.5, 0.6))


def _missing_seed(artifacts: Artifacts) -> None:
    (artifacts.stage_output("finetune", "from_scratch") / "weights" / "seed_1.safetensors").unlink()


def _diverged(artifacts: Artifacts) -> None:
    models(artifacts.stage_output("finetune", "from_scratch"), float("nan"))


def _diverged_bundle(artifacts: Artifacts) -> None:
    bundle(artifacts.stage_output("export"), float("nan"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_other_classes, r"(?s)linear_probe.*other classes.*only in the model: violet.*test pictures: blue"),
        (_other_transform, r"(?s)prepared in another way.*mean=\(0.5.*mean=\(0.4"),
        (_missing_seed, r"asks for 2 seeds, .*from_scratch/weights holds the weights of 1\.\n.*dvc repro"),
        (_diverged, r"from_scratch/weights/seed_0.safetensors: the network's output is not a number"),
        (_diverged_bundle, r"export/model.safetensors: the network's output is not a number"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    finished: Artifacts, spoil: Callable[[Artifacts], None], message: str
) -> None:
    spoil(finished)
    with pytest.raises(UserError, match=message):
        evaluate(CONFIG, finished)
    assert not (finished.reports / "metrics.json").exists()


def test_models_are_completed_by_the_one_they_were_made_from(finished: Artifacts) -> None:
    expected = evaluate(CONFIG, finished)
    base = finished.stage_output("replace_head") / "model.safetensors"
    card = ModelCard("tiny_networks.Colours", {}, CLASSES, TRANSFORM, "by hand")
    save_model(base, base.with_name("card.json"), Colours(3), card)
    for contender in Contender:
        folder = finished.stage_output("finetune", contender.name)
        paths = sorted((folder / "weights").iterdir())
        networks = [load_model(path, folder / "card.json")[0] for path in paths]
        for path, network in zip(paths, networks, strict=True):
            save_model(path, folder / "card.json", network, card, base)
    assert evaluate(CONFIG, finished) == expected
    base.unlink()
    with pytest.raises(UserError, match="replace_head/model.safetensors does not exist"):
        evaluate(CONFIG, finished)


def test_the_models_before_and_after_a_reward_phase_are_compared(finished: Artifacts) -> None:
    """Before it they are as good as any: the phase gained nothing, and that is said."""
    models(finished.stage_output("finetune", "finetuned", "before_reward"), 5.0)
    recipe = read_json(finished.stage("search", "finetuned") / "recipe.json")
    recipe |= {"selected": None, "recipe": {**recipe["recipe"], "reward": "balanced_accuracy"}}
    write_json(finished.stage_output("search", "finetuned") / "recipe.json", recipe)
    found = evaluate(CONFIG, finished)["reward"]
    assert found["reward"] == "balanced_accuracy"
    assert found["arms"]["reward"] == found["arms"]["likelihood"] == found["arms"]["likelihood_decided"]
    assert found["differences"]["reward"]["mean"] == 0
