"""The database of studies: where it is, how it is reached, and its lock."""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from filelock import FileLock
from optuna.storages import RDBStorage
from sqlalchemy import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from thawline.config.errors import UserError, first_line
from thawline.config.search import Search

CONNECT_SECONDS = 5
BUSY_SECONDS = 60
"""A process waits so long for another one's write to a sqlite file."""

KEEP_ALIVE = ("tcp_keepalives_idle = 10", "tcp_keepalives_interval = 5", "tcp_keepalives_count = 3")
"""Makes a PostgreSQL server notice within half a minute that a machine went dark while it held the lock;
left to itself it waits two hours."""


def location(search: Search, database: Path) -> URL:
    """Return where the studies are: `search.storage`, or the sqlite file `database`.

    A relative sqlite path lies below the repository, in whose folder scratch `database` is; not below the
    current folder, which in a temporary experiment is a copy that is thrown away.

    Raises `UserError` for what is neither a sqlite file nor PostgreSQL.
    """
    database = database.resolve()
    if search.storage is None:
        return URL.create("sqlite", database=str(database))
    try:
        url = make_url(search.storage)
    except (ArgumentError, ValueError):
        url = URL.create("nothing")
    # an unescaped @ in a password ends it, and makes the rest of it part of the host
    if url.get_backend_name() not in ("sqlite", "postgresql") or "@" in (url.host or ""):
        raise UserError(
            "search.storage is not the address of a database that studies can be kept in.\n"
            "  allowed: null, sqlite:///path/to/file.db, "
            "postgresql+psycopg2://user:password@host:5432/name\n"
            "  in a password, write @ as %40 and : as %3A"
        )
    if url.get_backend_name() != "sqlite":
        return url
    if url.database in (None, "", ":memory:"):
        raise UserError(
            f"search.storage = {search.storage} keeps studies in memory, where no other process finds them.\n"
            "  choose a file: sqlite:///path/to/file.db; or null: scratch/studies.db"
        )
    return url.set(database=str((database.parents[1] / str(url.database)).resolve()))


def is_shared(url: URL) -> bool:
    """Tell whether several machines can reach it."""
    return url.get_backend_name() == "postgresql"


def connect(search: Search, database: Path) -> RDBStorage:
    """Return the storage, its tables made where they do not exist yet.

    Raises `UserError`, within seconds, where the database cannot be reached or used.
    """
    url = location(search, database)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # Ctrl-C while a connection is given back is printed with a traceback, though it is raised as well
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Optuna raises a bare RuntimeError for tables of another version
    with explained(url, ImportError, OSError, RuntimeError):
        if not is_shared(url):
            Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
        engine = sqlalchemy.create_engine(url, connect_args=_connect_arguments(url))
        # creating the tables from two processes at once fails in one of them
        with one_at_a_time(engine, "tables"):
            _refuse_foreign(engine)
            storage = RDBStorage(
                url.render_as_string(hide_password=False),
                engine_kwargs={"connect_args": _connect_arguments(url), "pool_pre_ping": is_shared(url)},
            )
        engine.dispose()
    return storage


def _refuse_foreign(engine: Engine) -> None:
    """Refuse a database of something else: Optuna would add its tables to it, and then stumble over the
    version of the others."""
    tables = set(sqlalchemy.inspect(engine).get_table_names())
    # a server's database may be shared with anything that keeps no versions of its tables
    foreign = "alembic_version" in tables if is_shared(engine.url) else bool(tables)
    if foreign and "version_info" not in tables:
        raise UserError(
            f"{engine.url.render_as_string()} is no database of studies: it holds other tables "
            f"({', '.join(sorted(tables)[:3])}).\n"
            "  nothing was changed; choose another one: search.storage=sqlite:///path/to/file.db"
        )


@contextmanager
def one_at_a_time(engine: Engine, name: str) -> Iterator[None]:
    """Hold the lock `name` of the database for the length of the block, waiting for whoever holds it.

    The lock of a process that dies is given back by the operating system or the database server. A sqlite
    file has one lock, whatever the name.
    """
    if not is_shared(engine.url):
        with FileLock(f"{engine.url.database}.lock"):
            yield
        return
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for setting in KEEP_ALIVE:
            connection.execute(sqlalchemy.text(f"SET {setting}"))
        connection.execute(sqlalchemy.text("SELECT pg_advisory_lock(:key)"), {"key": key})
        try:
            yield
        finally:
            # closed rather than kept for later use: whatever happens, the lock is gone with it
            connection.invalidate()


def database_time(engine: Engine) -> float:
    """Return the seconds since 1970 by the database's clock, which all machines share."""
    with engine.connect() as connection:
        now = connection.execute(sqlalchemy.select(sqlalchemy.func.now())).scalar_one()
    return (now if now.tzinfo else now.replace(tzinfo=UTC)).timestamp()


@contextmanager
def explained(url: URL, *others: type[Exception]) -> Iterator[None]:
    """Turn errors of the database, and `others`, into `UserError`: which one, why, and what to do; never with
    its password."""
    errors: tuple[type[Exception], ...] = (SQLAlchemyError, optuna.exceptions.StorageInternalError, *others)
    try:
        yield
    except errors as error:
        reason = _reason(error).replace(str(url.password), "***") if url.password else _reason(error)
        raise UserError(
            f"The database of studies {url.render_as_string()} cannot be used.\n"
            f"  reason: {reason}\n"
            f"  {_advice(url, error)}"
        ) from error


def _connect_arguments(url: URL) -> dict[str, Any]:
    return {"connect_timeout": CONNECT_SECONDS} if is_shared(url) else {"timeout": BUSY_SECONDS}


def _reason(error: BaseException) -> str:
    """Return the first line of the innermost error: the layers above it only wrap it."""
    while (inner := getattr(error, "orig", None) or error.__cause__) is not None:
        error = inner
    return first_line(error)


def _advice(url: URL, error: BaseException) -> str:
    while error is not None and not isinstance(error, ImportError):
        error = error.__cause__  # type: ignore[assignment]
    if error is not None:
        return "Install what talks to it: pip install 'thawline[postgresql]'"
    if is_shared(url):
        return "Start the server or correct search.storage; search.storage=null keeps studies on this machine"
    return "Put that right, or keep the studies elsewhere: search.storage=sqlite:///path/to/file.db"
