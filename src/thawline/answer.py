"""The answer of a pipeline in a few lines, from the files that its stages left."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from thawline.artifacts import (
    FORECAST,
    LABELS,
    METRICS,
    PAGE,
    RECOMMENDATION,
    REVIEW,
    SOURCES,
    Artifacts,
    read_json,
)
from thawline.choose_source.wording import sentence
from thawline.config.overrides import shell_line
from thawline.config.recipe.words import Told, learning, rates
from thawline.training.recipe import recipe_of_plain
from thawline.wording import duration, percent, with_range

ALARMING = 0.2
"""Share of doubtful labels above which the answer says so: of clean ones, heads that are often wrong doubt
a tenth."""


def answer(artifacts: Artifacts, kept: Path, seconds: float, planned: bool = False) -> Iterator[str]:
    """Yield lines: how good the model is, how much was frozen, at which rates, what could not be told, what
    was left out, and where everything lies.

    Args:
        kept: the folder with the copies.
        seconds: what all of it took.
        planned: for some minutes, into which not everything may have fitted.
    """
    metrics = read_json(artifacts.reports / METRICS)
    told, own = _told(metrics), metrics["finetuned"]
    yield ""
    yield f"accuracy   {with_range(own['accuracy'])} on {own['n_test']} test pictures{_probe(metrics)}"
    if right := metrics.get("answers", {}).get("costs", {}).get("accuracy"):
        yield f"decided    {with_range(right)} of what it decides by what mistakes cost is right"
    yield f"depth      {learning(told).replace('`', '')}"
    trained = "none: nothing is trained step by step"
    yield f"rates      {trained if told.is_solved else f'{rates(told)}; {told.recipe.epochs} epochs'}"
    yield from _source(artifacts.reports / SOURCES)
    for words in not_told(metrics, read_json(artifacts.reports / RECOMMENDATION)):
        yield f"not told   {words}"
    if planned:
        yield from _left_out(artifacts.stage("plan") / FORECAST)
    here = Path.cwd()
    place = kept.relative_to(here) if kept.is_relative_to(here) else kept
    looked = read_json(artifacts.stage("review") / REVIEW)
    if looked["doubtful"] > ALARMING * looked["pictures"]:
        counts = f"{looked['doubtful']} of {looked['pictures']} are doubtful"
        yield f"labels     {counts}: {place}/report/{LABELS} has the worst first"
    yield f"kept       {place}/report/{PAGE}, {place}/model"
    again = shell_line(["thawline", "predict", "--model", f"{place}/model"])
    yield f"           {again} FILE|FOLDER"
    yield f"           {duration(seconds)} in all"


def _source(compared: Path) -> Iterator[str]:
    # not for a command that is wrong
    import pandas as pd

    if compared.exists() and len(table := pd.read_csv(compared)):
        yield f"source     {sentence(table)}"


def _left_out(forecast: Path) -> Iterator[str]:
    # the first is what tells most
    for words, minutes in (read_json(forecast).get("left_out", ()) if forecast.exists() else ())[:1]:
        yield f"left out   {words}: --minutes {minutes} has room for it"


def _probe(metrics: dict[str, Any]) -> str:
    probe = metrics.get("linear_probe")
    if probe is None or _told(metrics).is_probe:
        return ""  # the model is that probe
    return f"; linear probe {with_range(probe['accuracy'])}"


def _told(metrics: Mapping[str, Any]) -> Told:
    chosen = metrics["recipe"]
    recipe, head = recipe_of_plain(chosen["recipe"]), chosen.get("linear_head", True)
    return Told(recipe, chosen["depth"], chosen["unit"], linear_head=head)


def validated(selected: Mapping[str, Any]) -> str:
    """Return what a picture is called that trials were validated on."""
    folds = (selected.get("validation") or {}).get("folds", 1)
    return "cross-validated picture" if folds > 1 else "validation picture"


def not_told(metrics: Mapping[str, Any], recommendation: Mapping[str, Any]) -> Iterator[str]:
    """Yield what could not be told, each to follow the words “not told:”.

    recommendation: recommendation.json; empty before there was such a file.
    """
    same = recommendation.get("indistinguishable_depths", ())
    if len(same) > 1:
        yield f"which of the depths {', '.join(map(str, same))} is best"
    elif (selected := metrics["recipe"].get("selected")) and (best := selected.get("best")):
        right, ours = percent(best["val_accuracy"]), percent(selected["val_accuracy"])
        yield (
            f"whether trial {best['trial']} is better: right on {right} of the {validated(selected)}s, "
            f"this one on {ours}, within one standard error"
        )
    elif recommendation and recommendation.get("best_depth") is None:
        why = "none had fresh seeds" if selected else "no other was tried"
        yield f"which depth is best: {why} (-S search=depth_curve gives each some)"
    if _told(metrics).is_probe:
        return
    difference = metrics.get("difference_linear_probe", {}).get("accuracy")
    if difference is not None and difference["low"] <= 0 <= difference["high"]:
        yield "whether the model is better than the linear probe"
