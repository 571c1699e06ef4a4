"""What fits into the minutes: the richest programme of trials and final trainings that does."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from thawline.config.sections import Contender, Goal
from thawline.plan.costs import Costs

START_SECONDS = 5.0
"""What a stage takes to start: its process, what it imports, what DVC does before and after."""

REVIEW_SECONDS = 0.04
"""Of a picture in stage review: 11 seconds of 280 photographs."""
TRAINING_SECONDS = 2.0
"""What a training takes beside its steps: the network loaded and cut, its head solved, its run recorded."""

MARGIN = 1.15
"""Trainings take longer than a few steps in a row promise."""

EPOCHS = (20, 12, 8, 5, 3)
"""Epochs that are enough where the source model is good, and for a first look."""

FREE_TRIALS = 4
"""Trials of other rates and depths, after each depth had one."""

TRIALS_LEAST, SEEDS_LEAST = 2, 2
"""Trials and fresh seeds at each depth without which a curve says nothing."""


@dataclass(frozen=True)
class Work:
    """What is to be done, whatever the time: counts of pictures, and what the configuration asks for.

    `depths` are thawed ones, the most telling first; `recipe` with all units frozen is solved and costs
    nothing here. `stored`: what frozen units make of a picture is computed once, not in every epoch,
    of each of the `variants` of a picture. `folds`: of a cross-validation; 1 where there can be none.
    `searched`: recipes are compared; else the configured one is trained, or only a head is `solved` (trained,
    where it is not `linear`).
    """

    goal: Goal
    train: int
    val: int
    test: int
    depths: tuple[int, ...]
    epochs: int
    seeds: int
    trials_per_depth: int = 0
    seeds_per_depth: int = 0
    contenders: tuple[Contender, ...] = (Contender.finetuned, Contender.linear_probe)
    stored: bool = True
    variants: int = 1
    refit: bool = False
    validation: str = "auto"
    folds: int = 5
    searched: bool = True
    solved: bool = False
    linear: bool = True


@dataclass(frozen=True)
class Programme:
    """What is done: each recipe validated by `folds` (1: on a held-out part), `epochs` long.

    `free`: trials after the first one of each depth (goal recipe). `trials` and `again`: trials and fresh
    seeds at each depth (goal depth_curve). `depths` empty: heads are solved, and nothing is fine-tuned.
    """

    folds: int
    epochs: int
    seeds: int
    depths: tuple[int, ...]
    free: int = 0
    trials: int = 1
    again: int = 0


@dataclass(frozen=True)
class Forecast:
    """Seconds from the end of the plan on, by stage, each with its start; `rest` is what follows finetune."""

    review: float
    search: float
    finetune: float
    rest: float

    @property
    def total(self) -> float:
        return self.review + self.search + self.finetune + self.rest


def forecast(work: Work, costs: Costs, programme: Programme) -> Forecast:
    """Return what `programme` takes by what was timed.

    The final fine-tuning is at the depth that costs most: which one it will be is what the search is for.
    """
    tried = _trials(work, programme) if work.searched else {}
    validated = sum(
        _training(work, costs, programme, depth, folded=True) * trials for depth, trials in tried.items()
    )
    pictures = work.variants * (work.train + work.val) if work.stored else 0
    stored = sum(pictures * costs.of(depth).prefix for depth in programme.depths)
    most = max((_training(work, costs, programme, depth) for depth in programme.depths), default=0.0)
    contenders = 1
    if Contender.from_scratch in work.contenders and programme.depths:
        if work.searched:
            alone = _training(replace(work, stored=False), costs, programme, 0, folded=True)
            validated += alone * _trials_from_scratch(work, programme)
        most += _training(replace(work, stored=False), costs, programme, 0)
        contenders = 2
    final = programme.seeds * most
    whole = costs.of(min(work.depths))
    asked = work.test * (whole.prefix + whole.suffix) * (contenders * programme.seeds + 1)
    return Forecast(
        review=REVIEW_SECONDS * (work.train + work.val) + START_SECONDS,
        search=MARGIN * (validated + stored) + START_SECONDS,
        finetune=MARGIN * final + START_SECONDS,
        rest=asked + 3 * START_SECONDS,
    )


def _trials(work: Work, programme: Programme) -> dict[int, float]:
    """Return trainings of whole recipes by depth; of free trials nobody knows where: they are shared out."""
    if not programme.depths:
        return {}
    each = programme.trials + programme.again
    if work.goal is Goal.recipe:
        each = 1
    return {depth: each + programme.free / len(programme.depths) for depth in programme.depths}


def _trials_from_scratch(work: Work, programme: Programme) -> int:
    """Return trainings of whole recipes from random weights, which leave no depths to try and no head to
    solve: as many as a study has trials, or in a curve as one depth has."""
    if work.goal is Goal.depth_curve:
        return programme.trials
    return len(programme.depths) + 1 + programme.free


def _training(work: Work, costs: Costs, programme: Programme, depth: int, folded: bool = False) -> float:
    cost, everything = costs.of(depth), work.train + work.val
    folds = programme.folds if folded else 1
    if folds > 1:
        train, val = everything * (folds - 1) / folds, everything / folds
    else:
        train, val = (everything, 0) if work.refit and not folded else (work.train, work.val)
    again = 0.0 if work.stored else cost.prefix
    epoch = train * (cost.step + again) + val * (cost.suffix + again)
    return folds * (programme.epochs * epoch + TRAINING_SECONDS)


def programmes(work: Work) -> Iterator[Programme]:
    """Yield programmes from the richest, which is what is configured, to the poorest.

    Cheaper validation comes before fewer epochs, then fewer seeds, and only then fewer questions.
    """
    folds = 1 if work.validation == "holdout" else work.folds
    epochs = (work.epochs, *(each for each in EPOCHS if each < work.epochs))
    curve = work.goal is Goal.depth_curve
    current = Programme(folds, epochs[0], work.seeds, work.depths)
    current = (
        replace(current, trials=work.trials_per_depth, again=work.seeds_per_depth)
        if curve
        else replace(current, free=FREE_TRIALS)
    )
    yield current
    enough = min(8, epochs[0])
    steps: list[tuple[str, Sequence[Any]]] = [("folds", () if work.validation == "kfold" else (1,))]
    steps += [("epochs", [each for each in epochs if each >= enough])]
    steps += [("seeds", range(work.seeds - 1, 0, -1))]
    if curve:
        steps += [
            ("again", range(work.seeds_per_depth - 1, SEEDS_LEAST - 1, -1)),
            ("trials", range(work.trials_per_depth - 1, TRIALS_LEAST - 1, -1)),
        ]
    steps += [("epochs", [each for each in epochs if each < enough][:1])]
    if not curve:
        steps += [("free", range(FREE_TRIALS - 1, -1, -1))]
    steps += [("depths", [work.depths[:count] for count in range(len(work.depths) - 1, 0, -1)])]
    steps += [("epochs", epochs[-1:])]
    for name, values in steps:
        for value in values:
            if getattr(current, name) != value:
                current = replace(current, **{name: value})
                yield current
    yield replace(current, depths=(), free=0)


def richest(work: Work, costs: Costs, seconds: float) -> Programme:
    """Return the richest programme that takes at most `seconds`, made richer where time is left; the poorest,
    which fine-tunes nothing, where none fits."""
    if work.solved:
        return Programme(1, 1, 1, ())
    found = next((each for each in programmes(work) if forecast(work, costs, each).total <= seconds), None)
    if found is None:
        return Programme(1, 1, 1, ())
    return _filled(work, costs, seconds, found)


def _filled(work: Work, costs: Costs, seconds: float, programme: Programme) -> Programme:
    """Spend what is left: on epochs up to what is enough, on trials, then on seeds."""
    if not programme.depths:
        return programme
    enough = [each for each in sorted(EPOCHS) if programme.epochs < each <= min(work.epochs, 8)]
    richer: list[tuple[str, Sequence[Any]]] = [
        ("epochs", enough),
        ("seeds", range(programme.seeds + 1, work.seeds + 1)),
    ]
    if work.goal is Goal.recipe:
        richer.insert(1, ("free", range(programme.free + 1, 3 * FREE_TRIALS + 1)))
    for name, values in richer:
        for value in values:
            tried = replace(programme, **{name: value})
            if forecast(work, costs, tried).total > seconds:
                break
            programme = tried
    return programme
