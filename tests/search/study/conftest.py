"""A study of a bowl, whose workers one process plays."""

from pathlib import Path

import pytest
from tests_processes import Processes
from tests_tasks import Bowl, random_search

from thawline.search.study.study import SharedStudy, open_study


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studies") / "studies.db"


@pytest.fixture
def task(request: pytest.FixtureRequest) -> Bowl:
    return Bowl(random_search(4, attempts=3), name=request.node.name)


@pytest.fixture
def study(task: Bowl, database: Path) -> SharedStudy:
    return open_study(task, database)


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Processes:
    return Processes(monkeypatch)
