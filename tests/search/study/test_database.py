"""Where studies are kept, and what is said when they cannot be."""

import socket
import sqlite3
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy
import tests_postgresql
from tests_tasks import Bowl, random_search

from thawline.artifacts import Artifacts
from thawline.config.errors import UserError
from thawline.search.study.database import connect, location
from thawline.search.study.engine import run_trials
from thawline.search.study.study import counted, open_study


def closed_port() -> int:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return int(closed.getsockname()[1])


def test_without_an_address_studies_are_in_the_file(tmp_path: Path) -> None:
    assert str(location(random_search(), tmp_path / "s.db")) == f"sqlite:///{tmp_path}/s.db"
    elsewhere = random_search(storage=f"sqlite:///{tmp_path}/other.db")
    assert location(elsewhere, tmp_path / "s.db").database == f"{tmp_path}/other.db"


@pytest.mark.parametrize("address", ["mysql://me:secret@host/name", "nonsense", ""])
def test_an_address_of_something_else_is_refused_with_what_is_allowed(address: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"search\.storage is not.*\n.*postgresql\+psycopg2") as refused:
        location(random_search(storage=address), tmp_path)
    assert "secret" not in str(refused.value)


def test_a_relative_path_lies_below_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "repository"))
    monkeypatch.chdir(tmp_path)
    search = random_search(storage="sqlite:///kept/studies.db")
    found = location(search, Artifacts.under(tmp_path / "thrown away").studies)
    assert found.database == str(tmp_path / "repository" / "kept" / "studies.db")


@pytest.mark.parametrize("address", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"search.storage = {address} keeps studies in memory.*\n.*a file"):
        location(random_search(storage=address), tmp_path / "s.db")


@pytest.mark.parametrize("place", ["me@host:54x2", "me:sec@ret@host"])
def test_an_address_that_cannot_be_read_says_how_to_write_passwords(place: str, tmp_path: Path) -> None:
    search = random_search(storage=f"postgresql+psycopg2://{place}/studies")
    with pytest.raises(UserError, match=r"in a password, write @ as %40 and : as %3A") as refused:
        location(search, tmp_path / "s.db")
    assert "ret" not in str(refused.value)


def test_a_server_that_is_down_is_said_within_seconds_without_its_password(tmp_path: Path) -> None:
    port = closed_port()
    search = random_search(storage=f"postgresql+psycopg2://me:secret@127.0.0.1:{port}/studies")
    started = time.monotonic()
    with pytest.raises(UserError) as refused:
        open_study(Bowl(search), tmp_path / "s.db")
    assert time.monotonic() - started < 30
    first, reason, advice = str(refused.value).splitlines()
    shown = f"postgresql+psycopg2://me:***@127.0.0.1:{port}/studies"
    assert first == f"The database of studies {shown} cannot be used."
    assert reason.startswith("  reason: connection to server at")
    assert reason.endswith("Connection refused")
    assert advice.startswith("  Start the server or correct search.storage")
    assert "secret" not in str(refused.value)


def test_a_missing_driver_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    search = random_search(storage="postgresql+psycopg2://me@127.0.0.1/studies")
    with pytest.raises(UserError, match=r"pip install 'thawline\[postgresql\]'"):
        open_study(Bowl(search), tmp_path / "s.db")


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "s.db").write_text("not a database, but long enough to look at" * 100)
    with pytest.raises(UserError, match=r"s\.db cannot be used\.\n  reason: .*not a database"):
        open_study(Bowl(random_search()), tmp_path / "s.db")


def tables_of(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM sqlite_master")]


def test_the_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        for table in ("alembic_version", "runs"):
            connection.execute(f"CREATE TABLE {table} (version_num TEXT)")
    with pytest.raises(
        UserError, match=r"mlflow\.db is no .* holds other tables \(alembic_version, runs\)\.\n"
    ):
        open_study(Bowl(random_search()), tmp_path / "mlflow.db")
    assert tables_of(tmp_path / "mlflow.db") == ["alembic_version", "runs"]


def test_tables_of_another_version_are_said_to_be_that(tmp_path: Path) -> None:
    task = Bowl(random_search())
    open_study(task, tmp_path / "s.db")
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v9.9.9.a'")
    with pytest.raises(UserError, match=r"s\.db cannot be used\.\n  reason: The runtime optuna version"):
        open_study(task, tmp_path / "s.db")


def only_one_at_a_time(task: Bowl, database: Path) -> list[int]:
    """How many were inside at once, as seen by each of four."""
    inside, seen = [0], list[int]()

    def enter() -> None:
        study = open_study(task, database)
        with study.alone():
            inside[0] += 1
            time.sleep(0.05)
            seen.append(inside[0])
            inside[0] -= 1

    together = [threading.Thread(target=enter) for _ in range(4)]
    for each in together:
        each.start()
    for each in together:
        each.join()
    return seen


def test_one_at_a_time_makes_the_tables_and_holds_the_lock(tmp_path: Path) -> None:
    assert only_one_at_a_time(Bowl(random_search()), tmp_path / "s.db") == [1] * 4


@pytest.mark.slow
def test_on_a_server_too_and_a_study_runs_there(tmp_path: Path) -> None:
    with tests_postgresql.server() as address:
        task = Bowl(random_search(4, storage=address))
        assert only_one_at_a_time(task, tmp_path / "s.db") == [1] * 4
        study = open_study(task, tmp_path / "s.db")
        run_trials(task, study, "")
        assert len(counted(study)) == 4
        assert list(tmp_path.iterdir()) == []
        wrong = Bowl(random_search(storage=address.replace("/postgres", "/nowhere")))
        with pytest.raises(UserError, match='reason: .*database "nowhere" does not exist'):
            open_study(wrong, tmp_path / "s.db")


@pytest.mark.slow
def test_the_lock_of_a_lost_connection_is_given_back(tmp_path: Path) -> None:
    with tests_postgresql.server() as address:
        task = Bowl(random_search(storage=address))
        holder, other = (open_study(task, tmp_path / "s.db") for _ in range(2))
        with holder.alone():
            engine = other.database.engine
            with engine.connect() as connection:
                connection.exec_driver_sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
                )
            with other.alone():
                pass


def test_ctrl_c_while_a_connection_is_given_back_is_raised_and_not_printed_as_well(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    connect(random_search(), tmp_path / "s.db")
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/s.db")

    @sqlalchemy.event.listens_for(engine, "reset")
    def ctrl_c(*_: object) -> None:
        raise KeyboardInterrupt

    connection = engine.connect()
    with pytest.raises(KeyboardInterrupt):
        connection.close()
    assert not caplog.records
