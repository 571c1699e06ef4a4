"""Recipes on the page: its first sentence, and the cells of its tables. The words are
`config.recipe.words`'."""

from thawline.config.recipe.words import (
    Told,
    besides,
    described,
    head_cuts,
    head_words,
    method_words,
    probe_first_words,
)
from thawline.report.findings import FINETUNED, NAMES, PROBE, Findings
from thawline.report.wording import DIFFERENCES, coverage, same_model
from thawline.wording import counted, listed, percent, percent_range, percent_with_range


def told(findings: Findings, name: str = FINETUNED) -> Told:
    """Return the recipe of a contender with what the page knows of its network."""
    found = findings.recipes[name]
    return Told(found.recipe, found.depth, found.unit, findings.units, found.linear_head)


def answer(findings: Findings) -> str:
    """Return which recipe it is, and how good it is on the test pictures, in a sentence."""
    found = findings.metrics[FINETUNED]
    accuracy, seeds = found["accuracy"], len(found["seeds"])
    over = f", mean of {seeds} seeds" if seeds > 1 else ", one seed" if _differs(findings, FINETUNED) else ""
    return (
        f"With {described(told(findings))}, the model labels "
        f"**{percent(accuracy['mean'])}** of {counted(found['n_test'], 'test picture')} correctly "
        f"({coverage(findings)} interval {percent_range(accuracy)}{over})."
    )


def is_the_probe(findings: Findings) -> bool:
    """Tell if the fine-tuned model is the linear probe's: nothing that fine-tuned more was better."""
    gap = findings.metrics.get(DIFFERENCES[PROBE])
    return gap is not None and same_model(gap["accuracy"]) and told(findings).is_probe


def shown(findings: Findings) -> dict[str, str]:
    """Return what the contenders are called that are another model each, in the order of `NAMES`."""
    if not is_the_probe(findings):
        return {name: NAMES[name] for name in findings.contenders}
    names = {name: NAMES[name] for name in findings.contenders if name != PROBE}
    return names | {FINETUNED: f"{NAMES[FINETUNED]}: the {NAMES[PROBE]}"}


def decided(findings: Findings) -> str | None:
    """Say how often the bundle's decisions are right, where they are not the likeliest classes; None where
    they are."""
    right = findings.metrics.get("answers", {}).get("costs", {}).get("accuracy")
    if right is None:
        return None
    return (
        "The model that is kept decides by what mistakes cost, in place of the likeliest class: "
        f"{percent_with_range(right)} of these decisions are right."
    )


def _differs(findings: Findings, name: str) -> bool:
    """Tell if another seed makes another model: a head that is solved on pictures as they are, does not."""
    found = told(findings, name)
    return not (found.is_solved and found.recipe.views == 0)


def single_seed(findings: Findings) -> str | None:
    """Warn where a single seed was trained of what differs by seed."""
    alone = [
        NAMES[name]
        for name in findings.contenders
        if len(findings.metrics[name]["seeds"]) == 1 and _differs(findings, name)
    ]
    if not alone:
        return None
    return (
        f"Only one seed was trained ({listed(alone)}): these intervals hold for that seed and say nothing "
        "about how another one would have fared."
    )


def frozen_cell(told: Told) -> str:
    """Return how many units are frozen, with the name of the last one."""
    if told.recipe.units is not None:
        return f"all but {listed([f'`{name}`' for name in told.recipe.units])}"
    unit = told.unit
    return f"{told.depth}" + (f" (`{unit}`)" if unit else "")


def method_cell(told: Told) -> str | None:
    """Return what `frozen_cell` leaves out; None for a plain frozen prefix."""
    recipe, at = told.recipe, told.at
    first = [probe_first_words(recipe, at), method_words(recipe, at)]
    if told.is_solved and head_cuts(recipe, at) > 1:
        first = [head_words(recipe, at)]
    return "; ".join([*filter(None, first), *besides(recipe, at)]) or None
