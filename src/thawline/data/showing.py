"""What the report shows of the target's pictures: numbers of all, and thumbnails of those that are odd.

Of test pictures there are numbers only: `evaluate` alone shows them.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from thawline.artifacts import PICTURES, write_json
from thawline.data.collection import Collection, Dropped
from thawline.data.scan import Scan
from thawline.data.split import Split
from thawline.data.thumbnails import emptied, write_thumbnail

_EXTREMES = 6
"""How many of the brightest pictures are shown, and so on."""
_ALIKE, _OF_ALIKE = 8, 4
"""How many groups of near-duplicates, and how many pictures of each."""
_LEFT_OUT, _OF_REASON = 40, 8
"""How many pictures that were left out, and how many for one reason."""
_COMMON = 5
"""How many of the most frequent sizes and kinds of files are named."""


def write_showing(
    folder: Path,
    collection: Collection,
    scanned: Scan,
    decision: Split,
    report: dict[str, Any],
    more: Sequence[Dropped] = (),
) -> None:
    """Write pictures.json and its thumbnails to `folder`, which is made anew.

    report: what the stores' cards say of the data set. more: further pictures that were left out.
    """
    show = _Show(emptied(folder), collection, scanned)
    names = decision.names
    used = scanned.pictures[names != ""]
    write_json(
        folder / PICTURES,
        {
            "counts": report["counts"],
            "notes": report["notes"],
            "not_needed": report["not_needed"],
            "sizes": _common(f"{w} × {h}" for w, h in zip(used["width"], used["height"], strict=True)),
            "kinds": _common(used["kind"]),
            "groups": sorted(Counter(used["group"][used["group"] != ""]).values(), reverse=True),
            "extremes": _extremes(show, np.flatnonzero((names == "train") | (names == "val"))),
            "near_duplicates": _near_duplicates(show, decision),
            "left_out": _left_out(show, [*collection.dropped, *scanned.dropped, *decision.dropped, *more]),
        },
    )


class _Show:
    """Makes entries of pictures, with a thumbnail where they could be decoded."""

    def __init__(self, folder: Path, collection: Collection, scanned: Scan) -> None:
        self.folder, self.scanned = folder, scanned
        self.labels = {item.path: item.label for item in collection.items}
        self.tested = {item.path for item in collection.items if item.split == "test"}
        self.rows = {path: row for row, path in enumerate(scanned.pictures["path"])}

    def __call__(self, path: str, said: str, *, seen: bool = True) -> dict[str, Any]:
        row = self.rows.get(path)
        name = None
        if row is not None and seen and path not in self.tested:
            content = self.scanned.pictures["content_hash"].iloc[row]
            name = write_thumbnail(self.folder / f"{content[:16]}.webp", self.scanned.images[row])
        return {"path": path, "label": self.labels.get(path, ""), "said": said, "thumbnail": name}


def _common(values: Iterable[str]) -> dict[str, Any]:
    """Return how many different values there are, and the most frequent ones with their numbers."""
    counts = sorted(Counter(values).items(), key=lambda each: (-each[1], each[0]))
    return {"different": len(counts), "common": counts[:_COMMON]}


def _extremes(show: _Show, rows: np.ndarray) -> dict[str, list[dict[str, Any]]]:
    """Return the darkest and brightest pictures, by what the network sees, and the smallest files."""
    pictures = show.scanned.pictures.iloc[rows]
    bright = np.array([show.scanned.images[row].mean() / 255 for row in rows])
    small = (pictures["width"] * pictures["height"]).to_numpy()
    levels = [f"mean brightness {100 * level:.0f} %" for level in bright]
    sizes = [f"{w} × {h}" for w, h in zip(pictures["width"], pictures["height"], strict=True)]
    found = {}
    for name, values, said in (
        ("darkest", bright, levels),
        ("brightest", -bright, levels),
        ("smallest", small, sizes),
    ):
        order = np.argsort(values, kind="stable")[:_EXTREMES]
        found[name] = [show(pictures["path"].iloc[index], said[index]) for index in order]
    return found


def _near_duplicates(show: _Show, decision: Split) -> dict[str, Any]:
    """Return how many groups of pictures look alike, and the largest of them that are not tested on."""
    split = dict(zip(show.scanned.pictures["path"], decision.names, strict=True))
    groups = sorted(decision.near_duplicates, key=lambda paths: (-len(paths), paths))
    seen = [[path for path in paths if split[path] in ("train", "val")] for paths in groups]
    return {
        "groups": len(groups),
        "pictures": sum(map(len, groups)),
        "shown": [
            {"pictures": len(paths), "shown": [show(path, str(split[path])) for path in paths[:_OF_ALIKE]]}
            for paths in [paths for paths in seen if len(paths) > 1][:_ALIKE]
        ],
    }


def _left_out(show: _Show, dropped: Sequence[Dropped]) -> list[dict[str, Any]]:
    """Return each reason for which pictures were left out, the most frequent first, with some of these."""
    room, found = _LEFT_OUT, []
    for reason, count in Counter(picture.reason for picture in dropped).most_common():
        shown = [picture for picture in dropped if picture.reason == reason][: min(_OF_REASON, room)]
        room -= len(shown)
        # what looks like a test picture shows it
        seen = "test picture" not in reason
        entries = [show(picture.path, picture.detail, seen=seen) for picture in shown]
        found.append({"reason": reason, "pictures": count, "shown": entries})
    return found
