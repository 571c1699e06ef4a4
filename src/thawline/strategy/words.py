"""What an advice says: which strategy, why for these pictures, what would change it; a sentence each."""

from thawline.strategy.rule import NUMBERS, Advice, Condition, Facts, Side

STRATEGIES = {
    "probe": "a linear probe: everything frozen, the head solved (`finetune=linear_probe`)",
    "bias": "few parameters: only biases learn (`finetune=bias`)",
    "mostly_frozen": "partly frozen: the head solved, then the last quarter of the units fine-tuned from it "
    "(`finetune=lp_ft finetune.depth=0.75`)",
    "half_frozen": "partly frozen: the head solved, then the second half of the units fine-tuned from it "
    "(`finetune=lp_ft finetune.depth=0.5`)",
    "lp_ft": "full fine-tuning from a solved head (`finetune=lp_ft`)",
    "full": "full fine-tuning (`finetune=full`)",
}
"""What each strategy that may be advised is, with its preset."""


def sentences(advice: Advice, found: str = "") -> list[str]:
    """Return three sentences; `found`, what a search saw of unfreezing here, joins the second."""
    return [_which(advice), _why(advice, found), _what_would_change(advice)]


def _which(advice: Advice) -> str:
    return f"The measurements in docs/strategy.md speak for {STRATEGIES[advice.side.strategy]}."


def _why(advice: Advice, found: str) -> str:
    facts, side = advice.facts, advice.side
    heads = (
        f"heads on frozen features get {_percent(facts.best)} of {facts.pictures:,} training pictures right"
    )
    heads += f" that they were not solved on ({_percent(facts.last)} on the last cut alone"
    heads += (
        ")" if facts.peak == 1 else f", the best single cut lies after {_percent(facts.peak)} of the units)"
    )
    there = f"there are {_each(facts)} of a class"
    if side.strategy == "probe":
        gain = f"on {_subsets(side)} nothing else gained on the probe on average"
    else:
        gain = f"on {_subsets(side)} it gained {_points(side)} on the probe"
    return f"Why: {heads}, {there}, and {gain}{'; ' + found if found else ''}."


def _what_would_change(advice: Advice) -> str:
    beyond = (
        " These pictures lie outside of what was measured, so that this is a guess." if advice.beyond else ""
    )
    if advice.other is None:
        text = "No number that is known before training told where something else is better"
        return f"{text}: a search may find it.{beyond}"
    words = [_condition(each, advice.facts) for each in advice.decisive]
    joined = (" or " if all(each.holds(advice.facts) for each in advice.decisive) else " and ").join(words)
    return f"It would be {STRATEGIES[advice.other.strategy]} {joined}.{beyond}"


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


def _subsets(side: Side) -> str:
    return f"{side.subsets} measured subsets like that"


def _points(side: Side) -> str:
    ends = "" if side.low != side.low else f" (95 % interval {100 * side.low:+.1f} to {100 * side.high:+.1f})"
    return f"{100 * side.gain:+.1f} percentage points{ends}"


def _each(facts: Facts) -> str:
    return f"{NUMBERS['each'](facts):.0f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
