"""Targets are found by every training, for the pictures that they were made for."""

import numpy as np
import pytest
from conftest import write_toy_store

from thawline.artifacts import SUPERVISE, Artifacts, read_json
from thawline.config.errors import UserError
from thawline.data.store import open_store
from thawline.data.supervision import open_training, write_supervision


def test_labels_stay_as_they_are_where_nothing_was_decided(toy_artifacts: Artifacts) -> None:
    store = open_store(toy_artifacts.data("target"))
    assert open_training(toy_artifacts).fingerprint == store.fingerprint
    write_supervision(toy_artifacts.stage_output("supervise"), {"sentences": []}, store)
    assert open_training(toy_artifacts).targets is None


def test_targets_are_put_on_and_taken_off_again(toy_artifacts: Artifacts) -> None:
    store, folder = open_store(toy_artifacts.data("target")), toy_artifacts.stage_output("supervise")
    rows = np.random.default_rng(0).random((len(store), 2))
    write_supervision(folder, {"sentences": ["a"]}, store, rows)
    np.testing.assert_allclose(open_training(toy_artifacts).targets, rows, rtol=1e-6)
    assert read_json(folder / SUPERVISE)["sentences"] == ["a"]
    write_supervision(folder, {"sentences": []}, store)
    assert open_training(toy_artifacts).targets is None


def test_targets_of_other_pictures_are_refused(toy_artifacts: Artifacts) -> None:
    store = open_store(toy_artifacts.data("target"))
    write_supervision(toy_artifacts.stage_output("supervise"), {}, store, np.ones((len(store), 2)))
    write_toy_store(toy_artifacts.data_output("target"), {"train": 8, "val": 8}, seed=9)
    with pytest.raises(UserError, match="targets of other pictures.*\n.*dvc repro"):
        open_training(toy_artifacts)
