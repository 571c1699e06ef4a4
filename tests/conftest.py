"""What many tests need: small networks, small stores, artifacts folders."""

import gc
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

import alembic.util
import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from hypothesis import settings
from sqlalchemy import Engine, event

from thawline import machine
from thawline.artifacts import CARD, MODEL, RECIPE, Artifacts
from thawline.data.store import Store, open_store, write_store
from thawline.data.transform import Transform
from thawline.tracking import connection

# The same few examples in every run, so that what fails once fails for everybody. To look for others:
# HYPOTHESIS_PROFILE=long make test
settings.register_profile("short", max_examples=25, derandomize=True, deadline=None)
settings.register_profile("long", max_examples=200, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))

TRANSFORM = Transform(
    size=16, resize=16, channels=3, fit="crop", interpolation="bilinear", mean=(0.5,) * 3, std=(0.25,) * 3
)


def toy_pictures(per_class: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """Make noise with a bright stripe whose direction is the class: learnable within a few steps."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 90, (2 * per_class, 16, 16, 3), dtype=np.uint8)
    labels = ["across", "down"] * per_class
    for image, label in zip(images, labels, strict=True):
        place = random.integers(2, 12)
        if label == "across":
            image[place : place + 3] = 230
        else:
            image[:, place : place + 3] = 230
    return images, labels


def write_toy_store(folder: Path, parts: dict[str, int], seed: int = 0) -> Store:
    """Make a store with `parts[split]` pictures a class of two classes."""
    made = {split: toy_pictures(count, seed + index) for index, (split, count) in enumerate(parts.items())}
    images = np.concatenate([pictures for pictures, _ in made.values()])
    rows = [
        {"path": f"{split}/{index}.png", "label": label, "split": split, "group": "", "content_hash": ""}
        for split, (_, labels) in made.items()
        for index, label in enumerate(labels)
    ]
    manifest = pd.DataFrame(rows).assign(width=16, height=16)
    write_store(folder, images, manifest, ("across", "down"), TRANSFORM)
    return open_store(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first: one that begins last keeps one process busy and the others idle.
    (pytest-xdist would begin with the files of many tests: `--no-loadscope-reorder`.)"""
    begin = ("test_readme.py", "test_readme_photographs.py", "test_dashboard.py", "test_chaos.py")
    slow = ("test_ray_tasks.py", "test_distributed.py", "test_mlflow_ui.py", "test_setup.py")
    search = ("test_depth_curve.py", "test_run.py", "test_search.py", "test_trials.py", "test_commands.py")
    longest = (*begin, "test_pipeline.py", *slow, *search)
    rank = {name: position for position, name in enumerate(longest)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


def pytest_collection_finish() -> None:
    """Leave what the imports have made, a million objects, out of every search for garbage for good:
    each takes half a second otherwise, and giving memory back asks for one, as does pytest's end for five."""
    gc.collect()
    machine.set_aside()


@pytest.fixture(scope="session", autouse=True)
def _migrations_are_read_once() -> Iterator[None]:
    """Let MLflow and Optuna read the hundred files of how their tables changed once, not with every store."""
    read, found = alembic.util.load_python_file, dict[tuple[object, str], object]()

    def remembered(folder: str, name: str) -> object:
        if name == "env.py":  # what it does, it does when it is read
            return read(folder, name)
        if (folder, name) not in found:
            found[folder, name] = read(folder, name)
        return found[folder, name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alembic.util, "load_python_file", remembered)
        yield


@pytest.fixture(scope="session", autouse=True)
def _installed_packages_are_read_once() -> Iterator[None]:
    """Let Lightning look once, not with every trainer, which of the installed packages bring callbacks: that
    takes half of the shortest training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lightning_fabric.utilities.registry.entry_points", cache(entry_points))
        yield


@pytest.fixture(scope="session", autouse=True)
def _databases_do_not_wait_for_the_disk() -> Iterator[None]:
    """Leave what is written to sqlite to the operating system, which outlives every process that tests kill:
    waiting for the disk takes nine tenths of the time of each of thousands of changes to runs and studies."""

    def unhurried(connection: object, _: object) -> None:
        # of a file that is no database, what comes next says so
        with suppress(sqlite3.DatabaseError):
            if isinstance(connection, sqlite3.Connection):
                connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", unhurried)
    yield
    event.remove(Engine, "connect", unhurried)


@pytest.fixture(scope="session", autouse=True)
def _files_do_not_wait_for_the_disk() -> Iterator[None]:
    """Leave what is written to files to the operating system, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _new_mlflow_stores_are_copies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let MLflow make the tables of one store, and copy that one where a test begins another: making them
    takes as long as a hundred tests. (Processes that tests start make their own.)"""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # which the processes of one call share
    template = folder / "template" / "mlflow.db"
    open_store_of_runs = connection._client

    def copied(store: str) -> object:
        path = Path(store.removeprefix("sqlite:///"))
        if store.startswith("sqlite:///") and path.name == "mlflow.db" and not path.exists():
            with FileLock(folder / "template.lock"):
                if not template.exists():
                    template.parent.mkdir(exist_ok=True)
                    open_store_of_runs(f"sqlite:///{template}")
            shutil.copy(template, path)
        return open_store_of_runs(store)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "_client", copied)
        yield


@pytest.fixture
def toy_store(tmp_path: Path) -> Store:
    """8 training and 8 validation pictures a class."""
    return write_toy_store(tmp_path / "store", {"train": 8, "val": 8})


def write_toy_artifacts(root: Path) -> Artifacts:
    """Make artifacts as after replace_head: target stores and a small initial target model."""
    from thawline.models.card import ModelCard
    from thawline.models.checkpoint import save_model
    from thawline.models.zoo import build

    artifacts = Artifacts.under(root)
    write_toy_store(artifacts.data_output("target"), {"train": 8, "val": 8})
    write_toy_store(artifacts.data_output("test"), {"test": 10}, seed=50)
    network = build("tests_networks.Small", 2, seed=1)
    card = ModelCard("tests_networks.Small", {}, ("across", "down"), TRANSFORM, "random", "0" * 64)
    folder = artifacts.stage_output("replace_head")
    save_model(folder / MODEL, folder / CARD, network, card)
    return artifacts


def write_toy_recipe(artifacts: Artifacts, **fields: object) -> None:
    """Leave what the search chose for the fine-tuned contender: the default recipe but for `fields`."""
    from thawline.config.sections import Contender, Finetune
    from thawline.training.recipe import Chosen, write_chosen

    recipe = Finetune(**fields)  # type: ignore[arg-type]
    path = artifacts.stage_output("search", "finetuned") / RECIPE
    write_chosen(path, Chosen(Contender.finetuned, recipe, 0, None, None))


@pytest.fixture
def toy_artifacts(tmp_path: Path) -> Artifacts:
    """`write_toy_artifacts` in a folder of the test's own."""
    return write_toy_artifacts(tmp_path)


@pytest.fixture
def build_small() -> Callable[[int], object]:
    from thawline.models.zoo import build

    return lambda seed: build("tests_networks.Small", 2, seed=seed)
