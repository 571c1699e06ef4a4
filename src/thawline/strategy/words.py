"""What an advice says: which strategy, why for these pictures, what would change it; a sentence each."""

from thawline.strategy.rule import NUMBERS, PROBE, Advice, Condition, Facts, Side

STRATEGIES = {
    "probe": ("the linear probe", "finetune=linear_probe", "everything frozen, the head solved"),
    "bias": (
        "few parameters",
        "finetune=bias finetune.phases=probe_first finetune.batch_norm=affine",
        "the head solved, then biases alone fine-tuned from it",
    ),
    "mostly_frozen": (
        "freezing three quarters",
        "finetune=lp_ft finetune.depth=0.75 finetune.batch_norm=frozen",
        "the head solved, then the last quarter of the units fine-tuned from it",
    ),
    "half_frozen": (
        "freezing half",
        "finetune=lp_ft finetune.depth=0.5 finetune.batch_norm=frozen",
        "the head solved, then the second half of the units fine-tuned from it",
    ),
    "lp_ft": (
        "full fine-tuning from a solved head",
        "finetune=lp_ft finetune.batch_norm=frozen",
        "nothing frozen",
    ),
    "full": ("full fine-tuning", "finetune=full finetune.batch_norm=frozen", "nothing frozen, a new head"),
}
"""Each strategy that may be advised: what it is called, its settings, and what it does."""


def sentences(advice: Advice, found: str = "") -> list[str]:
    """Return three sentences; `found`, what a search saw of unfreezing here, joins the second."""
    return [_which(advice), _why(advice, found), _what_would_change(advice)]


def _which(advice: Advice) -> str:
    name, settings, does = STRATEGIES[advice.side.strategy]
    return f"What was measured elsewhere (docs/strategy.md) speaks for **{name}** (`{settings}`): {does}."


def _why(advice: Advice, found: str) -> str:
    facts, side = advice.facts, advice.side
    heads = f"heads solved on frozen features get {_percent(facts.best)} of the training"
    heads += f" pictures right out of fold ({_percent(facts.last)} on the last cut alone"
    peak = f"; the single cut of least log-loss lies after {_percent(facts.peak)} of the units"
    heads += ")" if facts.peak == 1 else f"{peak})"
    like = f"all {side.subsets} measured subsets"
    if advice.other is not None:
        like = "one measured subset" if side.subsets == 1 else f"{side.subsets} measured subsets"
        like += " like that"
    gain = "no other strategy was better by half a point on average"
    if side.strategy != PROBE:
        gain = f"it gained {_points(side)} on the linear probe"
    why = f"Why: {heads}, there are {NUMBERS['each'](facts):.0f} of a class, and on {like} {gain}"
    return f"{why}; {found}." if found else f"{why}."


def _what_would_change(advice: Advice) -> str:
    beyond = " These pictures lie outside of what was measured, so this is a guess." if advice.beyond else ""
    if advice.other is None:
        told = "No number that is known before training tells where another strategy is better"
        return f"{told}: a search may find one.{beyond}"
    words = [_condition(each, advice.facts) for each in advice.decisive]
    holding = all(each.holds(advice.facts) for each in advice.decisive)
    change = (" or " if holding else " and ").join(words)
    return f"It would be **{STRATEGIES[advice.other.strategy][0]}** {change}.{beyond}"


def _condition(condition: Condition, facts: Facts) -> str:
    """Say what would have to be otherwise for `condition` to turn round."""
    holds, least = condition.holds(facts), condition.least
    fewer, where = "fewer than" if holds else "at least", _percent(1 - least)
    return {
        "error": f"if heads got {'more' if holds else 'less'} than {where} right",
        "each": f"with {fewer} {least:.3g} pictures of a class",
        "pictures": f"with {fewer} {least:.3g} pictures in all",
        "early": f"if the best single cut lay {'after' if holds else 'before'} {where} of the units",
    }[condition.number]


def _points(side: Side) -> str:
    gain = f"{100 * side.gain:+.1f} percentage points"
    if side.low is None or side.high is None:
        return gain
    return f"{gain} (95 % interval {100 * side.low:+.1f} to {100 * side.high:+.1f})"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
