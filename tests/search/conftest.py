"""What many tests of studies need: a store of runs that is there already."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def empty_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of runs without any: making one takes MLflow seconds."""
    from thawline import tracking
    from thawline.tracking import connection

    folder = tmp_path_factory.mktemp("runs")
    tracking.connect(f"sqlite:///{folder / 'mlflow.db'}", "thawline", folder)
    # or a test that connects to nothing would record its runs here
    connection._connection = None
    return folder / "mlflow.db"


@pytest.fixture
def runs(empty_runs: Path, tmp_path: Path) -> str:
    """The address of a database of runs of this test's own."""
    shutil.copyfile(empty_runs, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"
