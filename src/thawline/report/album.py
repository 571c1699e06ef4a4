"""The pictures of the page, each with what is said of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from thawline.report.figures.confusion import WRITTEN, mean_count
from thawline.report.thumbnails import Entry, Thumbnails
from thawline.wording import counted, listed, percent


def facts(pictures: Thumbnails, sizes: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what is known of all pictures, a name and a sentence each.

    sizes: the pictures of each split, as in metrics.json.
    """
    told = pictures.told
    if not told:
        return []
    groups, alike = told["groups"], told["near_duplicates"]
    total = sum(split["total"] for split in sizes.values())
    found = [("sizes", _common(told["sizes"], "size")), ("files", _common(told["kinds"], "kind"))]
    found.append(
        (
            "groups",
            f"{counted(sum(groups), 'picture')} of {total:,} in {counted(len(groups), 'group')}, the largest "
            f"with {groups[0]:,}; a group stays in one split"
            if groups
            else "none were given",
        )
    )
    looks = f"{counted(alike['pictures'], 'picture')} in {counted(alike['groups'], 'group')} that look alike"
    found.append(
        ("near-duplicates", f"{looks}; each group stays in one split" if alike["groups"] else "none")
    )
    if told["not_needed"]:
        found.append(("not needed", f"{counted(told['not_needed'], 'picture')} beyond the numbers wanted"))
    return found


def _common(counts: Mapping[str, Any], noun: str) -> str:
    named = [f"{name} ({number:,})" for name, number in counts["common"]]
    more = counts["different"] - len(named)
    return listed([*named, f"{counted(more, f'other {noun}')}"] if more else named)


def class_counts(sizes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the splits and, for each class, its pictures in each of them."""
    splits = [name for name in ("train", "val", "test") if name in sizes]
    classes = sizes["train"]["per_class"]
    rows = [(name, [sizes[split]["per_class"][name] for split in splits]) for name in classes]
    return {"splits": splits, "rows": rows, "all": [sizes[split]["total"] for split in splits]}


def excluded(pictures: Thumbnails) -> list[dict[str, Any]]:
    """Return each reason for which pictures were left out, with their number and some of them."""
    return [
        {
            "reason": each["reason"],
            "pictures": each["pictures"],
            "shown": pictures.shown(each["shown"], "{label}", "{said}"),
        }
        for each in pictures.told.get("left_out", ())
    ]


def alike(pictures: Thumbnails) -> list[dict[str, Any]]:
    """Return groups of pictures that look alike."""
    groups = pictures.told.get("near_duplicates", {}).get("shown", ())
    return [
        {"pictures": each["pictures"], "shown": pictures.shown(each["shown"], "{label}", "{said}")}
        for each in groups
    ]


def extremes(pictures: Thumbnails) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the darkest, brightest and smallest pictures to learn from; the smallest where sizes differ."""
    told = pictures.told
    kinds = [
        name for name in told.get("extremes", ()) if name != "smallest" or told["sizes"]["different"] > 1
    ]
    return [(name, pictures.shown(told["extremes"][name], "{label}", "{said}")) for name in kinds]


def cells(mistakes: Thumbnails) -> list[dict[str, Any]]:
    """Return for each class and each that it was taken for the clearest pictures, and a name for it."""
    return [
        {
            **{name: cell[name] for name in ("label", "predicted", "pictures")},
            "place": f"mistakes-{number}",
            "shown": mistakes.shown(map(_sure, cell["shown"]), "{sure}", _seeds(mistakes)),
        }
        for number, cell in enumerate(mistakes.told.get("cells", ()), 1)
    ]


def matrix(
    classes: Sequence[str], counts: np.ndarray, cells: Sequence[Mapping[str, Any]]
) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return a row for each class, with what its test pictures were taken for; none where classes are many.

    Of each class that is: the number of pictures (mean over seeds), how much that is of the most frequent
    mistake (`heat`) and the place of their pictures.

    counts: (C, C), rows are the true classes.
    """
    if len(classes) > WRITTEN:
        return []
    places = {(cell["label"], cell["predicted"]): cell["place"] for cell in cells if cell["shown"]}
    errors = counts - np.diag(np.diag(counts))
    highest = max(float(errors.max()), 1e-9)
    return [
        (
            label,
            [
                {
                    "count": mean_count(counts[row, column]) if counts[row, column] else "",
                    "heat": f"{errors[row, column] / highest:.2f}",
                    "right": row == column,
                    "place": places.get((label, predicted)),
                    "predicted": predicted,
                }
                for column, predicted in enumerate(classes)
            ],
        )
        for row, label in enumerate(classes)
    ]


def worst(mistakes: Thumbnails) -> list[dict[str, Any]]:
    """Return the worst mistakes of each class, with what the network looked at where that can be shown."""
    entries = map(_sure, mistakes.told.get("worst", ()))
    return mistakes.shown(entries, "{label}, taken for {predicted}", "{sure}", _seeds(mistakes))


def _sure(entry: Entry) -> Entry:
    return {**entry, "sure": f"{percent(entry['confidence'])} sure"}


def _seeds(mistakes: Thumbnails) -> str:
    seeds = mistakes.told.get("seeds", 1)
    return f"{{seeds}} of {seeds} seeds" if seeds > 1 else ""


def looked_at(mistakes: Thumbnails) -> str:
    """Say what the maps show, or why there are none."""
    told = mistakes.told
    if not told.get("worst"):
        return ""
    after = told["map_after"]
    if after is None:
        return (
            "This network has no map of rows and columns to show what it looked at (transformers see tokens)."
        )
    return (
        "Beside each picture, in orange, what spoke for the wrong class: Grad-CAM at the last cut with rows "
        f"and columns, in `{after}`, by the first seed."
    )


def doubtful(doubts: Thumbnails) -> list[dict[str, Any]]:
    """Return the pictures whose labels are worth a second look."""
    entries = [{**each, "sure": percent(each["confidence"])} for each in doubts.told.get("labels", ())]
    return doubts.shown(entries, "labelled {label}", "rather {likelier} ({sure})")


def more_pictures(doubts: Thumbnails) -> dict[str, Any]:
    """Return accuracy by the number of training pictures, as cells of a table, and what follows."""
    told = doubts.told.get("more_pictures") or {}
    rows = [
        (
            f"{each['pictures']:,}",
            percent(each["accuracy"]),
            f"{percent(each['low'])} to {percent(each['high'])}",
        )
        for each in told.get("points", ())
    ]
    return {"rows": rows, "sentence": told.get("sentence", "")}
