"""What a plan says before the long work begins."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from thawline.config.sections import Goal
from thawline.plan.budget import Forecast, Programme, Work, forecast
from thawline.plan.costs import Costs
from thawline.wording import counted, duration


def table(minutes: float, used: float, work: Work, programme: Programme, expected: Forecast) -> Iterator[str]:
    """Yield lines: what will be done, how long each step takes, and when all is over."""
    yield f"plan for {minutes:.4g} minutes"
    yield _row("until here", used)
    yield _row("review", expected.review)
    yield _row(f"search: {_search(work, programme)}", expected.search)
    yield _row(f"finetune: {_final(work, programme)}", expected.finetune)
    yield _row("export, evaluate, report", expected.rest)
    yield _row("in all", used + expected.total)


def _row(what: str, seconds: float) -> str:
    return f"  {what:<72} {duration(seconds):>12}"


def _search(work: Work, programme: Programme) -> str:
    if not programme.depths:
        return f"none; the head is {'solved' if work.linear else 'trained'} on the frozen network"
    if not work.searched:
        return "none, as search=off says"
    depths = f"depths {', '.join(map(str, sorted(programme.depths)))} and all frozen"
    if programme.again:
        tried = f"{programme.trials} trials and {programme.again} fresh seeds at each"
    else:
        tried = f"one trial each, {programme.free} more"
    validated = f"{programme.folds} folds" if programme.folds > 1 else "validated on a held-out part"
    return f"{depths}, {tried}, {validated}, {programme.epochs} epochs"


def _final(work: Work, programme: Programme) -> str:
    if not programme.depths:
        return "the solved head" if work.linear else "the head alone, as configured"
    how = "chosen" if work.searched else "configured"
    return (
        f"{counted(programme.seeds, 'training')} of {programme.epochs} epochs with the recipe that is {how}"
    )


def left_out(
    work: Work, costs: Costs, programme: Programme, expected: Forecast
) -> Iterator[tuple[str, float]]:
    """Yield what is configured and left out, in words, and how many seconds more it would take."""
    if work.solved:
        return
    if not programme.depths:
        least = Programme(1, 3, 1, work.depths[:1])
        more = forecast(work, costs, least).total - expected.total
        yield f"all fine-tuning; the least of it takes {duration(more)} more", more
        return
    for words, richer in _richer(work, programme):
        more = forecast(work, costs, richer).total - expected.total
        if more > 1:
            yield f"{words}, {duration(more)} more", more


def _richer(work: Work, programme: Programme) -> Sequence[tuple[str, Programme]]:
    missing = [depth for depth in work.depths if depth not in programme.depths]
    found = []
    if missing:
        named = ", ".join(map(str, sorted(missing)))
        found.append((f"depths {named}", replace(programme, depths=work.depths)))
    if programme.folds == 1 < work.folds and work.validation != "holdout":
        words = f"{work.folds} folds in place of one held-out part"
        found.append((words, replace(programme, folds=work.folds)))
    if programme.epochs < work.epochs:
        found.append((f"{work.epochs} epochs", replace(programme, epochs=work.epochs)))
    if programme.seeds < work.seeds:
        found.append((f"{work.seeds} final trainings", replace(programme, seeds=work.seeds)))
    if work.goal is Goal.depth_curve and programme.trials < work.trials_per_depth:
        words = f"{work.trials_per_depth} trials at each depth"
        found.append((words, replace(programme, trials=work.trials_per_depth)))
    return found
