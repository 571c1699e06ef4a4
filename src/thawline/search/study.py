"""A resumable, seeded Optuna study: trials one after another until their total is reached."""

import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
from filelock import FileLock
from optuna.trial import FrozenTrial, Trial, TrialState

from thawline.config.sections import PrunerName, SamplerName, Search
from thawline.training.classifier import TrainingDivergedError

INTERRUPTED = "interrupted"
REASON = "reason"
SETTLED = (TrialState.COMPLETE, TrialState.PRUNED)


def open_study(database: Path, name: str, search: Search) -> optuna.Study:
    """The study `name` in the sqlite `database`, created where it does not exist yet.

    Trials that a killed process left running are ended as failed; they do not count.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    database.parent.mkdir(parents=True, exist_ok=True)
    # creating the tables from two processes at once fails in one of them
    with FileLock(f"{database}.lock"):
        study = optuna.create_study(
            study_name=name,
            storage=f"sqlite:///{database}",
            direction="maximize",
            pruner=_pruner(search.pruner),
            load_if_exists=True,
        )
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study._storage.set_trial_user_attr(trial._trial_id, REASON, INTERRUPTED)
        study.tell(trial.number, state=TrialState.FAIL)
    return study


def counted(study: optuna.Study, total: int | None = None) -> list[FrozenTrial]:
    """Trials that count, the first `total` of them: finished, pruned, or failed for a reason of their
    own (an interruption is not one). A smaller total than last time so gives what it always gives."""
    found = [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state in SETTLED
        or (trial.state is TrialState.FAIL and trial.user_attrs.get(REASON) != INTERRUPTED)
    ]
    return found[:total]


def run_trials(
    study: optuna.Study,
    search: Search,
    objective: Callable[[Trial], float],
    *,
    first: dict[str, float],
    seed: int,
    after_trial: Callable[[Trial, TrialState], None],
) -> None:
    """Run trials until `search.trials` are counted.

    The sampler is seeded anew from (seed, trials counted so far), so that a study that was
    interrupted proposes what an undisturbed one would have. `first` are the parameters of the first
    trial.
    """
    while (index := len(counted(study))) < search.trials:
        study.sampler = _sampler(search, int(np.random.SeedSequence([seed, index]).generate_state(1)[0]))
        if index == 0 and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            study.enqueue_trial(first)
        trial = study.ask()
        after_trial(trial, _settle(study, trial, objective))


def _settle(study: optuna.Study, trial: Trial, objective: Callable[[Trial], float]) -> TrialState:
    """Run one trial and tell the study how it ended; only an interruption goes on to the caller."""
    try:
        study.tell(trial, objective(trial))
        return TrialState.COMPLETE
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
        return TrialState.PRUNED
    except TrainingDivergedError as error:
        trial.set_user_attr(REASON, str(error).splitlines()[0])
        study.tell(trial, state=TrialState.FAIL)
        return TrialState.FAIL
    except BaseException:
        trial.set_user_attr(REASON, INTERRUPTED)
        study.tell(trial, state=TrialState.FAIL)
        raise


def best_trial(study: optuna.Study, total: int | None = None) -> FrozenTrial | None:
    """Of the first `total` trials that count, the complete one with the best validation accuracy; ties
    go to the lower validation loss, then to the earlier trial. None if no trial completed."""
    complete = [trial for trial in counted(study, total) if trial.state is TrialState.COMPLETE]
    return min(
        complete,
        key=lambda trial: (-(trial.value or 0.0), trial.user_attrs["val_loss"], trial.number),
        default=None,
    )


def _sampler(search: Search, seed: int) -> optuna.samplers.BaseSampler:
    if search.sampler is SamplerName.random:
        return optuna.samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():
        # grouped sampling of conditional spaces is marked experimental
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=search.startup_trials, multivariate=True, group=True
        )


def _pruner(name: PrunerName) -> optuna.pruners.BasePruner:
    if name is PrunerName.none:
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=3)
