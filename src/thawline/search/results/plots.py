"""A study's plots on its run in MLflow: Optuna's own, and accuracy by depth where that was measured.

A plot is a look at what is stored elsewhere. So nothing here ever makes a search fail.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from thawline import tracking
from thawline.config.errors import first_line
from thawline.search.space.parameters import DEPTH, HEAD_LR

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

FOLDER = "plots"
"""In the run's artifacts."""
ACCURACY, OPERATIONS = "validation accuracy", "operations of one training"
_DPI = 100


def log_plots(study: optuna.Study, run: tracking.Run, curve: pd.DataFrame | None = None) -> list[str]:
    """Keep the study's plots as PNG files below `plots/` of `run`; return their names.

    A plot for which there are too few trials is left out, and so is one that cannot be drawn or kept. For one
    trial matplotlib is not loaded.

    Args:
        curve: as of `thawline.search.results.curve.depth_curve`; None, or no rows: no curve was measured.
    """
    if len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) < 2 and curve is None:
        return []
    try:
        with TemporaryDirectory() as temporary, _drawing():
            names = _draw(study, curve, Path(temporary))
            if names:
                run.log_artifact(Path(temporary), FOLDER)
            return names
    except Exception as error:
        log.warning("the study's plots are left out: %s", f"{type(error).__name__}: {first_line(error)}")
        return []


@contextmanager
def _drawing() -> Iterator[None]:
    """Let Optuna draw through pyplot: without a screen, and without leaving its style behind."""
    import matplotlib
    import matplotlib.pyplot as plt

    before = optuna.logging.get_verbosity()
    # it remarks on every axis of names
    logging.getLogger("matplotlib.category").setLevel(logging.WARNING)
    with warnings.catch_warnings(), matplotlib.rc_context():
        warnings.simplefilter("ignore")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        plt.switch_backend("agg")
        try:
            yield
        finally:
            plt.close("all")
            optuna.logging.set_verbosity(before)


def _draw(study: optuna.Study, curve: pd.DataFrame | None, folder: Path) -> list[str]:
    import matplotlib.pyplot as plt

    drawn = []
    for name, draw in _plots(study, curve).items():
        try:
            figure = draw()
            figure.savefig(folder / f"{name}.png", dpi=_DPI, bbox_inches="tight")
            drawn.append(name)
        except Exception as error:
            log.debug("plot %s is left out: %s", name, f"{type(error).__name__}: {first_line(error)}")
        finally:
            plt.close("all")
    return drawn


def _plots(study: optuna.Study, curve: pd.DataFrame | None) -> dict[str, Callable[[], "Figure"]]:
    """Return by name what draws each plot that there is something to show for."""
    from optuna.visualization import matplotlib as plots

    single = _by_accuracy(study)
    complete = single.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    varied = _varied(complete)
    named: dict[str, Any] = {"target_name": ACCURACY}
    found: dict[str, Callable[[], Any]] = {}
    if complete:
        found["best_so_far"] = lambda: plots.plot_optimization_history(single, **named)
    if varied and len({trial.value for trial in complete}) > 1:
        found["importance"] = lambda: plots.plot_param_importances(single, **named)
        found["parallel_coordinates"] = lambda: plots.plot_parallel_coordinate(single, varied, **named)
        found["slice"] = lambda: plots.plot_slice(single, varied, **named)
        if {DEPTH, HEAD_LR} <= set(varied):
            found["depth_and_rate"] = lambda: plots.plot_contour(single, [DEPTH, HEAD_LR], **named)
    if complete and single is not study:
        found["pareto_front"] = lambda: plots.plot_pareto_front(study, target_names=[ACCURACY, OPERATIONS])
    if curve is not None and len(curve):
        found["accuracy_by_depth"] = lambda: _by_depth(curve)
    log.debug("of the study's plots there are %s", ", ".join(found) or "none")
    return {name: partial(_figure, draw) for name, draw in found.items()}


def _by_accuracy(study: optuna.Study) -> optuna.Study:
    """Return the study as one of accuracy alone: given several objectives, Optuna draws no best so far, and
    takes the lowest accuracy for the best."""
    if len(study.directions) == 1:
        return study
    single = optuna.create_study(direction="maximize")
    for trial in study.get_trials(states=(TrialState.COMPLETE,)):
        trial.values = trial.values[:1]
        single.add_trial(trial)
    return single


def _varied(trials: Sequence[FrozenTrial]) -> list[str]:
    """Return the parameters that took more than one value, in alphabetical order."""
    values: dict[str, set[Any]] = {}
    for trial in trials:
        for name, value in trial.params.items():
            values.setdefault(name, set()).add(value)
    return sorted(name for name, different in values.items() if len(different) > 1)


def _figure(draw: Callable[[], Any]) -> "Figure":
    """Return the figure of the axes that `draw` gives, one or an array of them."""
    import numpy as np

    axes = np.ravel(draw())
    figure = axes[0].figure
    figure.set_size_inches(max(7.2, 2.8 * len(axes)), 4.6)
    return figure


def _by_depth(curve: pd.DataFrame) -> Any:
    """Return axes with the validation accuracy at every depth and its interval."""
    import matplotlib.pyplot as plt

    axes = plt.figure().add_subplot()
    errors = [curve["val_mean"] - curve["val_low"], curve["val_high"] - curve["val_mean"]]
    axes.errorbar(curve["depth"], curve["val_mean"], errors, fmt="-o", capsize=3)
    axes.set_xticks(curve["depth"])
    axes.set(xlabel="frozen units", ylabel=ACCURACY, title="Accuracy by depth, with intervals")
    axes.grid(alpha=0.3)
    return axes
