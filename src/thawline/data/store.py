"""Pictures decoded once: an array to memory-map, its manifest, and a card that says both are whole."""

import hashlib
import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from thawline.artifacts import VOTES, atomic_path, file_hash, fingerprint, read_json, write_json
from thawline.config.errors import UserError
from thawline.data.split_names import VOTED
from thawline.data.transform import Transform

FORMAT = 1
PSEUDO = "pseudo"
"""The split of pictures that heads have labelled and nobody else: trainings learn from them, and nobody is
asked about them. They lie behind the training pictures; a store of data has none."""
TEACHING_ONLY = (VOTED, PSEUDO)
"""Splits, in the order in which they lie behind the training pictures, that teach and by which nothing is
measured."""
COLUMNS = ("path", "label", "split", "group", "content_hash", "width", "height")
_BLOCK_BYTES = 32 * 2**20


@dataclass(frozen=True, eq=False)
class Store:
    """Pictures as the network sees them, with what is known of each.

    `images` is `(n, size, size, channels)` uint8, read-only and memory-mapped; `manifest` has one row
    per picture and the columns `COLUMNS`; `classes` are the label names in the order of the model's
    outputs; `fingerprint` changes whenever any byte of the content does. `origin` is the store these
    pictures were taken from and their rows in it, None where they were taken from none. `targets` is what a
    training is told of each picture in place of its label: `(n, classes)` float32, shares of the classes
    whose sum is the picture's weight; None: labels as they are.
    """

    images: np.ndarray
    manifest: pd.DataFrame
    classes: tuple[str, ...]
    transform: Transform
    fingerprint: str
    origin: tuple["Store", np.ndarray] | None = None
    targets: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def labels(self) -> np.ndarray:
        """Index into `classes` of each picture, `(n,)` int64; -1 where it has no label."""
        index = {"": -1} | {name: position for position, name in enumerate(self.classes)}
        return np.array([index[label] for label in self.manifest["label"]], np.int64)

    @property
    def supervision(self) -> np.ndarray:
        """What a training is told: targets where there are some, else labels."""
        return self.labels if self.targets is None else self.targets

    def taught(self, targets: np.ndarray) -> "Store":
        """Return the same pictures with `targets`: the fingerprint is another one, but stored features of the
        pictures are found as before.

        Raises `ValueError` unless they are `(n, classes)`, finite and not negative, with a sum above 0.
        """
        rows = np.ascontiguousarray(targets, np.float32)
        if rows.shape != (len(self), len(self.classes)):
            raise ValueError(f"targets {rows.shape} for {len(self)} pictures of {len(self.classes)} classes")
        if not (np.isfinite(rows).all() and rows.min(initial=0.0) >= 0 and rows.sum() > 0):
            raise ValueError("targets must be finite and not negative, and not all be 0")
        told = hashlib.sha256(rows.tobytes()).hexdigest()
        return replace(
            self,
            targets=rows,
            fingerprint=fingerprint([self.fingerprint, told]),
            origin=self._origin(np.arange(len(self))),
        )

    @property
    def labelled(self) -> np.ndarray:
        """The rows of the pictures whose label people gave, rising."""
        return np.flatnonzero(~self.manifest["split"].isin(TEACHING_ONLY))

    def own(self) -> "Store":
        """Return the pictures whose label people gave: these, uncopied, where they are all."""
        rows = self.labelled
        return self if len(rows) == len(self) else self._rows(rows, ["labelled"])

    def teaching(self) -> "Store":
        """Return the pictures that a training learns from: those of the split train and, where there are
        some, those behind them that voters or heads have labelled. None are copied."""
        taught = self.manifest["split"].isin(["train", *TEACHING_ONLY])
        if len(self.labelled) == len(self):
            return self.part("train")
        return self._slice(np.flatnonzero(taught), f"train and {PSEUDO}")

    def part(self, split: str) -> "Store":
        """Return the pictures of one split (`train`, `val` or `test`), without copying any; may be empty."""
        return self._slice(np.flatnonzero(self.manifest["split"] == split), split)

    def _slice(self, rows: np.ndarray, name: str) -> "Store":
        first, last = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
        if last - first != len(rows):
            raise ValueError(f"the {name} pictures are not next to each other in the store")
        return self._rows(slice(first, last), [name])

    def divided(self, train: np.ndarray, val: np.ndarray) -> "Store":
        """Return the same pictures otherwise divided: those of the rows `train` to learn from and those of
        the rows `val` to validate on, each part in the order given; those that teach only, which are in
        neither, stay what they are. The pictures are copied, unless this is the order they lie in."""
        others = np.flatnonzero(self.manifest["split"].isin(TEACHING_ONLY))
        rows = np.concatenate([train, others, val]).astype(np.int64)
        as_they_lie = len(rows) > 0 and bool((np.diff(rows) == 1).all())
        split = ["train"] * len(train) + list(self.manifest["split"].iloc[others]) + ["val"] * len(val)
        taken = slice(int(rows[0]), int(rows[-1]) + 1) if as_they_lie else rows
        found = self._rows(taken, [[int(row) for row in train], [int(row) for row in val]])
        return replace(found, manifest=found.manifest.assign(split=split))

    def undivided(self) -> "Store":
        """Return the same pictures `divided` so that all of those that people labelled are to learn from."""
        return self.divided(self.labelled, np.arange(0))

    def _rows(self, rows: np.ndarray | slice, name: list[Any]) -> "Store":
        """Return the pictures at `rows`, which `name` tells from other parts of these. A slice is no copy."""
        return replace(
            self,
            images=self.images[rows],
            manifest=self.manifest.iloc[rows].reset_index(drop=True),
            fingerprint=fingerprint([self.fingerprint, *name]),
            origin=self._origin(np.arange(len(self))[rows]),
            targets=None if self.targets is None else self.targets[rows],
        )

    def _origin(self, rows: np.ndarray) -> tuple["Store", np.ndarray]:
        """Return where the pictures at `rows` come from in the first place."""
        if self.origin is None:
            return self, rows
        first, mine = self.origin
        return first, mine[rows]


def groups_of(manifest: pd.DataFrame) -> np.ndarray:
    """Number what is kept and resampled together: (n,) of 0..G-1, equal for pictures of one group; a picture
    without a group is on its own."""
    names = list(manifest["group"].where(manifest["group"] != "", manifest["path"]))
    return np.unique(names, return_inverse=True)[1]


def write_store(
    directory: Path,
    images: np.ndarray,
    manifest: pd.DataFrame,
    classes: tuple[str, ...],
    transform: Transform,
    *,
    rows: np.ndarray | None = None,
    card: dict[str, Any] | None = None,
) -> None:
    """Write `images[rows]` (all when None) and the manifest's equally many rows to `directory`.

    `card` is JSON-like and kept beside the store's own entries. card.json comes last and holds the
    hashes of the other two, so its presence means that the store is whole; a process killed at any
    instant leaves the old store or none. One process at a time may write to a directory.
    """
    rows = np.arange(len(images)) if rows is None else rows
    if len(rows) != len(manifest):
        raise ValueError(f"{len(rows)} images but {len(manifest)} rows in the manifest")
    directory.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(directory)
    require_space(directory, len(rows) * images[:1].nbytes)
    with (
        atomic_path(directory / "manifest.csv") as new_manifest,
        atomic_path(directory / "images.npy") as new_images,
    ):
        _write_images(new_images, images, rows)
        manifest[list(COLUMNS)].to_csv(new_manifest, index=False, encoding="utf-8", lineterminator="\n")
        content = {
            "format": FORMAT,
            "classes": list(classes),
            "transform": transform.to_dict(),
            "shape": [len(rows), *images.shape[1:]],
            "manifest_sha256": file_hash(new_manifest),
            "images_sha256": file_hash(new_images),
        }
        # From here until the new card is written there is no store: never a mixture of two.
        _card_path(directory).unlink(missing_ok=True)
    write_json(_card_path(directory), {**(card or {}), **content, "fingerprint": fingerprint(content)})


def write_absence(directory: Path, reason: str) -> None:
    """Leave a directory that says why there is no store in it; `open_store` repeats the reason."""
    discard_store(directory)
    write_json(_card_path(directory), {"format": FORMAT, "absent": reason})


def discard_store(directory: Path) -> None:
    """Remove the store in `directory`, if there is one."""
    for name in ("card.json", "manifest.csv", "images.npy", VOTES):
        (directory / name).unlink(missing_ok=True)


def open_store(directory: Path) -> Store:
    """Open the store in `directory`, after checking its manifest's hash and its array's shape and size.

    Raises `UserError` when it is missing, damaged or was made in another format.
    """
    card = _read_card(directory)
    manifest_path, images_path = directory / "manifest.csv", directory / "images.npy"
    try:
        _require(file_hash(manifest_path) == card["manifest_sha256"], manifest_path, "was changed")
        images = np.load(images_path, mmap_mode="r")
        manifest = pd.read_csv(
            manifest_path, dtype=str, keep_default_na=False, encoding="utf-8", lineterminator="\n"
        )
    except (OSError, ValueError, KeyError) as error:
        raise _damaged(directory, str(error)) from None
    _require(list(images.shape) == card["shape"], images_path, f"has shape {images.shape}")
    _require(images.dtype == np.uint8, images_path, f"holds {images.dtype}")
    return Store(
        images,
        manifest.astype({"width": "int64", "height": "int64"}),
        tuple(card["classes"]),
        Transform.from_dict(card["transform"]),
        card["fingerprint"],
    )


def require_space(directory: Path, size: int) -> None:
    """Raise `UserError` unless `size` bytes fit on the disk; a map on a full disk would crash instead."""
    free = shutil.disk_usage(directory).free
    if size > free:
        raise UserError(
            f"{directory} needs {size / 2**20:,.0f} MiB, its disk has {free / 2**20:,.0f} MiB left.\n"
            "  Free some space, or lower input.size."
        )


def _write_images(path: Path, images: np.ndarray, rows: np.ndarray) -> None:
    shape = (len(rows), *images.shape[1:])
    written = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    block = max(_BLOCK_BYTES // max(images[:1].nbytes, 1), 1)
    for start in range(0, len(rows), block):
        written[start : start + block] = images[rows[start : start + block]]
    written.flush()


def _card_path(directory: Path) -> Path:
    return directory / "card.json"


def _remove_leftovers(directory: Path) -> None:
    # Of a process that was killed while it wrote here.
    for partial in directory.glob(".*.partial"):
        partial.unlink()


def _read_card(directory: Path) -> dict[str, Any]:
    card = read_json(_card_path(directory))
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise _damaged(directory, "its card.json is of another format")
    if "absent" in card:
        raise UserError(f"{directory} holds no pictures: {card['absent']}")
    return card


def _require(ok: bool, path: Path, what: str) -> None:
    if not ok:
        raise _damaged(path.parent, f"{path.name} {what}, not as card.json says")


def _damaged(directory: Path, what: str) -> UserError:
    return UserError(f"{directory} is damaged: {what}.\n  Delete the folder and run: dvc repro")
