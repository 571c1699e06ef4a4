"""A store of runs, and whom to ask about it."""

import pytest

from thawline import tracking
from thawline.tracking.connection import connected


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A store whose path has a space."""
    home = tmp_path_factory.mktemp("a store")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DVC_ROOT", raising=False)
        tracking.connect("sqlite:///mlflow.db", "tests", home)
        yield home


@pytest.fixture
def experiment(home, request):
    """Each test records into an experiment of its own."""
    return tracking.connect("sqlite:///mlflow.db", request.node.name, home)


@pytest.fixture(scope="session")
def database(tmp_path_factory):
    """An empty database: MLflow takes seconds to make one."""
    home = tmp_path_factory.mktemp("database")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DVC_ROOT", raising=False)
        tracking.connect("sqlite:///mlflow.db", "template", home)
    return home / "mlflow.db"


@pytest.fixture
def client():
    return connected().client
