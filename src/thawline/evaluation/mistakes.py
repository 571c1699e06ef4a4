"""The test pictures that were taken for something else: thumbnails, and where the network looked."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn

from thawline.artifacts import MISTAKES, write_json
from thawline.data.batches import as_pixels, normalised
from thawline.data.store import Store
from thawline.data.thumbnails import emptied, write_thumbnail
from thawline.evaluation.tables import Predicted
from thawline.models.grad_cam import grad_cam

_PICTURES, _OF_CELL = 200, 8
"""How many thumbnails there are at most, and how many of one class that was taken for one other."""
_MAPS, _OF_CLASS = 60, 3
"""How many pictures have a map at most, and how many of one class."""
_AT_ONCE = 8
"""How many pictures gradients are computed for at once: each takes tens of megabytes at 224 pixels."""
_HEAT = (255, 90, 0)
_OPACITY, _SIDE = 0.75, 56


def write_mistakes(
    folder: Path,
    test: Store,
    models: Sequence[Predicted],
    network: nn.Module,
    outputs: Sequence[int],
    device: torch.device,
) -> None:
    """Write mistakes.json, thumbnails and maps to `folder`, which is made anew.

    models: the answers of every seed of one contender. network: that of the first seed, whose maps are shown.
    outputs: for each class of the store, the network's output for it.
    """
    emptied(folder)
    wrong = _wrong(test, models)
    cells = _cells(folder, test, wrong)
    chosen = _worst(wrong, len(test.classes))
    after = _write_maps(folder, test, chosen, network, outputs, device)
    value = {
        "seeds": len(models),
        "cells": cells,
        "worst": [_entry(folder, test, row, after is not None) for row in chosen.to_dict("records")],
        "map_after": after,
    }
    write_json(folder / MISTAKES, value)


def _wrong(test: Store, models: Sequence[Predicted]) -> pd.DataFrame:
    """Return a row for each picture and each class that a seed took it for wrongly.

    Its columns: `row` in the store, `path`, `label` and `predicted` (indices), the number of such `seeds`,
    and the mean probabilities, over all seeds, of that class (`confidence`) and of its own (`of_true`).
    """
    mean = np.mean([model.probabilities for model in models], axis=0)
    chosen = pd.DataFrame({"row": np.arange(len(test)), "label": test.labels})
    votes = pd.concat([chosen.assign(predicted=model.probabilities.argmax(1)) for model in models])
    votes = votes[votes["predicted"] != votes["label"]]
    counts = votes.groupby(["row", "label", "predicted"]).size().rename("seeds").reset_index()
    return counts.assign(
        path=test.manifest["path"].to_numpy(str)[counts["row"]],
        confidence=mean[counts["row"], counts["predicted"]],
        of_true=mean[counts["row"], counts["label"]],
    )


def _worst(wrong: pd.DataFrame, classes: int) -> pd.DataFrame:
    """Return of each class the pictures whose own class was given the least probability, each once; of
    too many classes the worst of all."""
    clearest = wrong.sort_values(["seeds", "confidence"], ascending=False, kind="stable").drop_duplicates(
        "row"
    )
    worst = clearest.sort_values(["of_true", "path"], kind="stable")
    shown = worst.groupby("label").head(max(1, min(_OF_CLASS, _MAPS // classes))).head(_MAPS)
    return shown.sort_values(["label", "of_true", "path"], kind="stable")


def _cells(folder: Path, test: Store, wrong: pd.DataFrame) -> list[dict[str, Any]]:
    """Return for each class and each that it was taken for how many pictures that were, and the clearest of
    them; where there are too many, those of the most frequent mistakes."""
    groups = [group for _, group in wrong.groupby(["label", "predicted"])]
    groups.sort(key=lambda group: -int(group["seeds"].sum()))
    room, found = _PICTURES, []
    for group in groups:
        order = ["seeds", "confidence", "path"]
        shown = group.sort_values(order, ascending=[False, False, True], kind="stable")
        shown = shown.head(min(_OF_CELL, room))
        room -= len(shown)
        label, predicted = (test.classes[int(group[name].iloc[0])] for name in ("label", "predicted"))
        entries = [_entry(folder, test, row, False) for row in shown.to_dict("records")]
        found.append({"label": label, "predicted": predicted, "pictures": len(group), "shown": entries})
    return found


def _entry(folder: Path, test: Store, row: Mapping[Any, Any], mapped: bool) -> dict[str, Any]:
    at = int(row["row"])
    return {
        "path": row["path"],
        "label": test.classes[int(row["label"])],
        "predicted": test.classes[int(row["predicted"])],
        "seeds": int(row["seeds"]),
        "confidence": round(float(row["confidence"]), 4),
        "thumbnail": write_thumbnail(folder / f"{at}.webp", test.images[at]),
        "map": _map_name(row) if mapped else None,
    }


def _map_name(row: Mapping[Any, Any]) -> str:
    return f"{int(row['row'])}-{int(row['predicted'])}.webp"


def _write_maps(
    folder: Path,
    test: Store,
    chosen: pd.DataFrame,
    network: nn.Module,
    outputs: Sequence[int],
    device: torch.device,
) -> str | None:
    """Write what speaks for the class that each chosen picture was taken for; return after which unit that is
    seen, None where the network has no map."""
    after, rows = None, chosen.to_dict("records")
    network.to(device).eval()
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        pixels = as_pixels(test.images[[row["row"] for row in some]], device)
        classes = torch.tensor([outputs[row["predicted"]] for row in some], device=device)
        maps = grad_cam(network, normalised(pixels, test.transform), classes)
        if maps is None:
            return None
        after = maps.after
        for row, overlay in zip(some, _overlays(maps.values), strict=True):
            write_thumbnail(folder / _map_name(row), overlay)
    return after


def _overlays(maps: np.ndarray) -> Iterator[np.ndarray]:
    """Yield each map in one colour, the clearer the more it counts, (side, side, 4) uint8."""
    for values in maps:
        large = Image.fromarray(values.astype(np.float32)).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
        opacity = np.clip(np.asarray(large), 0, 1) * _OPACITY * 255
        colour = np.broadcast_to(np.array(_HEAT, np.uint8), (_SIDE, _SIDE, 3))
        yield np.concatenate([colour, opacity[..., None].round().astype(np.uint8)], axis=2)
