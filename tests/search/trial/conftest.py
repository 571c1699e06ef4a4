"""One project, in which each test has studies of its own: another configuration is another study."""

from functools import partial

import pytest
from conftest import write_toy_artifacts
from tests_trials import Make, config_of

from thawline.artifacts import Artifacts


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    return write_toy_artifacts(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def config(project: Artifacts) -> Make:
    """`tests_trials.config_of`, with a store of runs in the project."""
    return partial(config_of, f"sqlite:///{project.root / 'mlflow.db'}")


@pytest.fixture(autouse=True)
def _nothing_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking for memory to give back takes a second among all that the tests have loaded."""
    monkeypatch.setattr("thawline.training.memory.free_memory", lambda: None)
