"""The study's plots on its run: those there is something to show for, and never a search that fails."""

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.visualization import matplotlib as visualization
from PIL import Image

from thawline import tracking
from thawline.search.results.plots import log_plots
from thawline.tracking.connection import connected

ALL = {"best_so_far", "importance", "parallel_coordinates", "slice", "depth_and_rate"}


class Kept:
    """A run that keeps its artifacts in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def log_artifact(self, path: Path, folder: str) -> None:
        shutil.copytree(path, self.folder / folder)


def study_of(trials: int, directions: tuple[str, ...] = ("maximize",), depths: int = 10) -> optuna.Study:
    """Depths and rates, a body's rate only where some of it is unfrozen; every ninth trial is pruned."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=directions, sampler=optuna.samplers.RandomSampler(seed=0))

    def objective(trial: optuna.Trial) -> float | tuple[float, ...]:
        depth = trial.suggest_int("depth", 0, depths - 1)
        head = trial.suggest_float("head_lr", 3e-4, 3e-2, log=True)
        if depth < 9:
            trial.suggest_float("body_lr", 3e-5, 3e-3, log=True)
        trial.suggest_categorical("augmentation", ["none", "standard"])
        accuracy = 0.9 - 0.003 * (depth - 4) ** 2 - 0.05 * (np.log10(head) + 2.5) ** 2
        if len(directions) > 1:
            return accuracy, 1e12 * (10 - depth)
        if trial.number % 9 == 5:
            raise optuna.TrialPruned
        return accuracy

    study.optimize(objective, trials)
    return study


def curve() -> pd.DataFrame:
    return pd.DataFrame({"depth": [0, 3, 9], "val_mean": 0.9, "val_low": 0.85, "val_high": 0.93})


def plotted(study: optuna.Study, folder: Path, curve: pd.DataFrame | None = None) -> set[str]:
    run: Any = Kept(folder)
    names = log_plots(study, run, curve)
    files = set((folder / "plots").glob("*")) if names else set()
    assert {path.name for path in files} == {f"{name}.png" for name in names}
    for path in files:
        with Image.open(path) as image:
            assert min(image.size) > 200
    return set(names)


@dataclass(frozen=True)
class Drawn:
    """What was really drawn, and the settings of matplotlib and Optuna that were others afterwards."""

    names: set[str]
    settings: set[str]
    verbosity: tuple[int, int]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    study = study_of(20, ("maximize", "minimize"))
    before, verbosity = dict(mpl.rcParams), optuna.logging.get_verbosity()
    names = plotted(study, tmp_path_factory.mktemp("drawn"), curve())
    changed = {name for name, value in dict(mpl.rcParams).items() if value != before[name]}
    return Drawn(names, changed, (verbosity, optuna.logging.get_verbosity()))


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Optuna's plots with nothing in them: which ones there are is decided before they are drawn."""
    for name in [name for name in vars(visualization) if name.startswith("plot_")]:
        monkeypatch.setattr(
            visualization, name, lambda *_, **__: plt.figure().add_subplot(xticks=[], yticks=[])
        )


def test_two_objectives_have_a_front_and_a_curve_its_plot(drawn: Drawn) -> None:
    assert drawn.names == ALL | {"pareto_front", "accuracy_by_depth"}


def test_drawing_leaves_matplotlib_and_optuna_as_they_were(drawn: Drawn) -> None:
    # the backend is drawn to by nobody else
    assert drawn.settings <= {"backend", "backend_fallback"}
    before, after = drawn.verbosity
    assert before == after


@pytest.mark.usefixtures("empty")
def test_what_there_are_too_few_trials_for_is_left_out(tmp_path: Path) -> None:
    assert plotted(study_of(0), tmp_path) == set()
    assert plotted(study_of(1), tmp_path) == set()
    assert plotted(study_of(2), tmp_path) >= {"best_so_far"}


@pytest.mark.usefixtures("empty")
def test_a_study_of_one_depth_has_no_map_of_depths(tmp_path: Path) -> None:
    assert plotted(study_of(12, depths=1), tmp_path) == ALL - {"depth_and_rate"}


def test_trials_that_are_all_equally_good_have_nothing_to_compare(tmp_path: Path) -> None:
    study = optuna.create_study(direction="maximize")
    study.optimize(lambda trial: 0.5 + 0 * trial.suggest_float("head_lr", 1e-4, 1e-2), 4)
    assert plotted(study, tmp_path) == {"best_so_far"}


@pytest.mark.usefixtures("empty")
def test_a_plot_that_cannot_be_drawn_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("no such axis\nand more")

    monkeypatch.setattr(visualization, "plot_slice", broken)
    caplog.set_level(logging.DEBUG, "thawline")
    assert plotted(study_of(12), tmp_path) == ALL - {"slice"}
    assert "plot slice is left out: ValueError: no such axis" in caplog.messages


@pytest.mark.usefixtures("empty")
def test_a_store_that_refuses_the_plots_does_not_fail_the_search(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Refusing:
        def log_artifact(self, *_: Any) -> None:
            raise OSError("disk full")

    run: Any = Refusing()
    assert log_plots(study_of(3), run) == []
    assert caplog.messages == ["the study's plots are left out: OSError: disk full"]


@pytest.mark.usefixtures("empty")
def test_the_plots_are_artifacts_of_the_studys_run(runs: str, tmp_path: Path) -> None:
    tracking.connect(runs, "thawline", tmp_path)
    tags = {"seed": 0, "data_fingerprint": "1f2e"}
    with tracking.run("search", stage="search", parameters={}, tags=tags) as run:
        names = log_plots(study_of(6), run)
    kept = connected().client.list_artifacts(run.id, "plots")
    assert {Path(each.path).stem for each in kept} == set(names)
    assert names
