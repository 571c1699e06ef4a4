"""Trainings that many tests compare theirs with."""

import pytest
from conftest import write_toy_store
from tests_trainings import Calm, Calms, train

from thawline.models.freezing import state_hashes
from thawline.models.zoo import build


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Calms:
    """By its changes to the recipe, trained once however many tests compare theirs with it."""
    store = write_toy_store(tmp_path_factory.mktemp("calm") / "store", {"train": 8, "val": 8})
    trained: dict[str, Calm] = {}

    def training(**changes: object) -> Calm:
        key = repr(changes)
        if key not in trained:
            network = build("tests_networks.Small", 2, seed=0)
            states = [state_hashes(network)]
            fitted = train(network, store, after=lambda _: states.append(state_hashes(network)), **changes)
            trained[key] = Calm(fitted, states, state_hashes(network))
        return trained[key]

    return training


@pytest.fixture(autouse=True)
def freed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note when a training that ran out of memory gives some back. Looking for it among all that the tests
    have loaded takes a second, and these networks leave nothing worth it."""
    found: list[int] = []
    monkeypatch.setattr("thawline.training.memory.free_memory", lambda: found.append(len(found)))
    return found
