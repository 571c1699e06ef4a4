"""The answer of a pipeline in a few lines, from the files that its stages left."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from thawline.artifacts import LABELS, METRICS, PAGE, RECOMMENDATION, REVIEW, SOURCES, Artifacts, read_json
from thawline.choose_source.wording import sentence
from thawline.config.choices import Start
from thawline.config.overrides import shell_line
from thawline.config.recipe.fields import Finetune
from thawline.config.recipe.meaning import Situation, is_probe, solved
from thawline.config.recipe.words import method_words, named_rates
from thawline.training.recipe import recipe_of_plain

ALARMING = 0.2
"""Share of doubtful labels above which the answer says so: of clean ones, heads that are often wrong doubt
a tenth."""


def answer(artifacts: Artifacts, kept: Path, seconds: float) -> Iterator[str]:
    """Yield lines: how good the model is, how much was frozen, at which rates, what could not be told, and
    where everything lies. `kept` is the folder with the copies, `seconds` what all of it took."""
    metrics = read_json(artifacts.reports / METRICS)
    recipe, own = metrics["recipe"], metrics["finetuned"]
    yield ""
    yield f"accuracy   {_interval(own['accuracy'])} on {own['n_test']} test pictures{_probe(metrics)}"
    yield f"depth      {_depth(recipe)}"
    yield f"rates      {_rates(recipe)}"
    yield from _source(artifacts.reports / SOURCES)
    for words in not_told(metrics, read_json(artifacts.reports / RECOMMENDATION)):
        yield f"not told   {words}"
    place = kept.relative_to(artifacts.root)
    looked = read_json(artifacts.stage("review") / REVIEW)
    if looked["doubtful"] > ALARMING * looked["pictures"]:
        counts = f"{looked['doubtful']} of {looked['pictures']} are doubtful"
        yield f"labels     {counts}: {place}/report/{LABELS} has the worst first"
    yield f"kept       {place}/report/{PAGE}, {place}/model"
    again = shell_line(["thawline", "predict", "--model", f"{place}/model"])
    yield f"           {again} FILE|FOLDER"
    yield f"           {seconds / 60:.1f} minutes in all"


def _source(compared: Path) -> Iterator[str]:
    # not for a command that is wrong
    import pandas as pd

    if compared.exists() and len(table := pd.read_csv(compared)):
        yield f"source     {sentence(table)}"


def _interval(metric: dict[str, float]) -> str:
    return f"{metric['mean']:.3f} ({metric['low']:.3f} to {metric['high']:.3f})"


def _probe(metrics: dict[str, Any]) -> str:
    probe = metrics.get("linear_probe")
    if probe is None or _is_probe(metrics["recipe"]):
        return ""  # the model is that probe
    return f"; linear probe {_interval(probe['accuracy'])}"


def _used(chosen: Mapping[str, Any]) -> tuple[Finetune, Situation]:
    """Return the chosen recipe and where it is used; `chosen` is recipe.json."""
    recipe = recipe_of_plain(chosen["recipe"])
    return recipe, Situation.of(vars(recipe), chosen["depth"], None, chosen.get("linear_head", True))


def _is_probe(chosen: Mapping[str, Any]) -> bool:
    recipe, at = _used(chosen)
    return is_probe(vars(recipe), at)


def _depth(chosen: Mapping[str, Any]) -> str:
    recipe, at = _used(chosen)
    frozen = f"{at.depth} {'unit' if at.depth == 1 else 'units'} frozen"
    if at.all_frozen:
        how = "solved" if solved(vars(recipe), at) else "trained"
        return f"all {frozen}: the head is {how} on their features"
    if recipe.start is Start.random:
        return "0: nothing is copied, every weight starts random"
    words = method_words(recipe, at)
    if recipe.units is not None:
        return f"all units frozen but {', '.join(recipe.units)}{f': {words}' if words else ''}"
    if at.depth:
        return f"{frozen}, up to {chosen['unit']}{f'; in the others {words}' if words else ''}"
    return f"0: {words or 'everything is fine-tuned'}"


def _rates(chosen: Mapping[str, Any]) -> str:
    recipe, at = _used(chosen)
    if solved(vars(recipe), at):
        return "none: nothing is trained step by step"
    found = named_rates(recipe, at)
    rates = [f"{f'{whose} ' if len(found) > 1 else ''}{rate:.2g}" for rate, whose in found]
    return f"{', '.join(rates)}; {recipe.epochs} epochs"


def not_told(metrics: Mapping[str, Any], recommendation: Mapping[str, Any]) -> Iterator[str]:
    """Yield what could not be told, each to follow the words “not told:”.

    recommendation: recommendation.json; empty before there was such a file.
    """
    same = recommendation.get("indistinguishable_depths", ())
    if len(same) > 1:
        yield f"which of the depths {', '.join(map(str, same))} is best"
    elif (selected := metrics["recipe"].get("selected")) and (best := selected.get("best")):
        yield (
            f"whether trial {best['trial']} is better: right on {best['val_accuracy']:.3f} of the validation "
            f"pictures, this one on {selected['val_accuracy']:.3f}, within one standard error"
        )
    elif recommendation and recommendation.get("best_depth") is None:
        why = "every depth had few trials" if selected else "no other was tried"
        yield f"which depth is best: {why} (-S search=depth_curve gives each as many)"
    if _is_probe(metrics["recipe"]):
        return
    difference = metrics.get("difference_linear_probe", {}).get("accuracy")
    if difference is not None and difference["low"] <= 0 <= difference["high"]:
        yield "whether the model is better than the linear probe"
