"""The stage: targets from votes and doubts, and nothing where there is nothing to say."""

import logging
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from thawline.artifacts import SUPERVISE, TARGETS, TOLD, VOTES, Artifacts, read_json, write_json
from thawline.config.choices import Doubt
from thawline.config.sections import Config
from thawline.config.supervision import Supervise
from thawline.data.store import open_store, write_store
from thawline.data.supervision import open_training, write_supervision
from thawline.supervise.supervise import NOTHING, supervise

WEIGH = replace(Config(), supervise=Supervise(doubt=Doubt.weigh))


WRONG = {0: (14, 20), 1: (16, 25), 2: (0, 1, 2, 3, 28, 29)}
"""In which rows each voter is wrong."""


def leave_votes(artifacts: Artifacts) -> None:
    """Leave votes of five voters for 32 pictures, of which the first 12 have no label; the fourth voter is a
    copy of the third, and the fifth says nothing."""
    store = open_store(artifacts.data("target"))
    said = [[label] * 3 for label in store.manifest["label"]]
    for voter, rows in WRONG.items():
        for row in rows:
            said[row][voter] = "down" if said[row][voter] == "across" else "across"
    answers = [[*each, each[2], ""] for each in said]
    known = [row >= 12 for row in range(len(store))]
    voters = ["ann", "bob", "cy", "copycat", "dumb"]
    write_json(artifacts.data("target") / VOTES, {"voters": voters, "said": answers, "known": known})


def test_labels_stay_as_they_are_without_votes_and_doubts(toy_artifacts: Artifacts) -> None:
    supervise(Config(), toy_artifacts)
    folder = toy_artifacts.stage("supervise")
    assert read_json(folder / SUPERVISE) == {"sentences": [NOTHING], "warnings": [], "voters": []}
    assert not (folder / TOLD / TARGETS).exists()
    assert open_training(toy_artifacts).targets is None


def test_nothing_to_do_loads_neither_torch_nor_pictures(toy_artifacts: Artifacts) -> None:
    program = (
        "import sys; from pathlib import Path; from thawline.artifacts import Artifacts\n"
        "from thawline.config.sections import Config; from thawline.supervise.supervise import supervise\n"
        f"supervise(Config(), Artifacts.under(Path({str(toy_artifacts.root)!r})))\n"
        "print([name for name in ('torch', 'scipy.stats', 'cleanlab', 'mlflow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_votes_become_targets_and_labels_that_are_known_stay(
    toy_artifacts: Artifacts, caplog: pytest.LogCaptureFixture
) -> None:
    leave_votes(toy_artifacts)
    with caplog.at_level(logging.INFO):
        supervise(Config(), toy_artifacts)
    store = open_training(toy_artifacts)
    assert store.targets is not None
    np.testing.assert_array_equal(store.targets[12:], np.eye(2)[store.labels[12:]])
    assert (store.targets[:12].argmax(1) == store.labels[:12]).all()
    assert (store.targets[:4].max(1) < 1).all()
    found = read_json(toy_artifacts.stage("supervise") / SUPERVISE)
    voters = {each["name"]: each for each in found["voters"]}
    assert [each["name"] for each in found["voters"]][-1] == "dumb"
    assert voters["copycat"]["copy_of"] == "cy"
    assert voters["ann"]["right"] > voters["cy"]["right"]
    assert "12 pictures without a label" in found["sentences"][0]
    assert "copycat says what cy says" in caplog.text
    assert "dumb votes on no training picture" in caplog.text


@pytest.mark.slow
def test_doubted_labels_count_less_and_equal_calls_leave_equal_bytes(toy_artifacts: Artifacts) -> None:
    supervise(WEIGH, toy_artifacts)
    folder = toy_artifacts.stage("supervise")
    first = (folder / TOLD / TARGETS).read_bytes(), (folder / SUPERVISE).read_bytes()
    supervise(WEIGH, toy_artifacts)
    assert ((folder / TOLD / TARGETS).read_bytes(), (folder / SUPERVISE).read_bytes()) == first
    targets = np.load(folder / TOLD / TARGETS)
    np.testing.assert_allclose(targets.sum(0), 16, rtol=1e-5)
    store = open_store(toy_artifacts.data("target"))
    np.testing.assert_array_equal(targets[16:], np.eye(2)[store.labels[16:]])
    assert "labels" in read_json(folder / SUPERVISE)["sentences"][0]


def test_a_fine_tuning_is_told_the_targets(toy_artifacts: Artifacts) -> None:
    from conftest import write_toy_recipe

    from thawline.artifacts import seed_weights
    from thawline.training.finetune import finetune

    store, written = open_store(toy_artifacts.data("target")), []
    write_toy_recipe(toy_artifacts, epochs=1, seeds=1, batch_size=8, depth="all")
    config = replace(Config(), contenders=Config().contenders[:1])
    for rows in (np.eye(2)[store.labels], np.eye(2)[1 - store.labels]):
        write_supervision(toy_artifacts.stage_output("supervise"), {}, store, rows)
        finetune(config, toy_artifacts)
        written.append(
            (toy_artifacts.stage("finetune", "finetuned") / "weights" / seed_weights(0)).read_bytes()
        )
    assert written[0] != written[1]


@pytest.mark.slow
@pytest.mark.parametrize("config", [Config(), WEIGH], ids=["votes", "doubts"])
def test_labels_of_validation_pictures_change_nothing_that_training_pictures_teach(
    toy_artifacts: Artifacts, config: Config
) -> None:
    leave_votes(toy_artifacts)
    folder, found = toy_artifacts.data("target"), []
    store = open_store(folder)
    for _ in range(2):
        supervise(config, toy_artifacts)
        found.append(np.load(toy_artifacts.stage("supervise") / TOLD / TARGETS)[:16])
        labels = store.manifest["label"].to_numpy(str).copy()
        labels[16:22] = "down"
        manifest = store.manifest.assign(label=labels)
        write_store(folder, np.array(store.images), manifest, store.classes, store.transform)
    np.testing.assert_array_equal(*found)
    assert not np.array_equal(labels, store.manifest["label"])
