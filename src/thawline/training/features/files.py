"""Stored features: one array to memory-map per address, with a card that says that it is whole.

`FOLDER/ADDRESS/features.npy` and `card.json`, which comes last. A process killed at any instant leaves an
entry or none; several that want the same one wait for the first to make it.
"""

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout

from thawline.artifacts import atomic_path, exclusive, file_hash, write_json
from thawline.config.errors import UserError

log = logging.getLogger(__name__)

FORMAT = 1
_FEATURES, _CARD = "features.npy", "card.json"
_verified: set[tuple[str, int, int]] = set()


@dataclass(frozen=True, eq=False)
class Features:
    """A prefix's features of n pictures: `array` is `(n, …)`, memory-mapped, in numpy's type of the same bits
    where numpy does not know `dtype` (bfloat16)."""

    array: np.ndarray
    dtype: torch.dtype

    def __len__(self) -> int:
        return len(self.array)

    def rows(self, indices: np.ndarray, device: torch.device | str = "cpu") -> torch.Tensor:
        """Return those of the pictures at `indices` `(b,)`, as a tensor of its own on `device`."""
        # without the map's own class, which looks at every result
        array = self.array.view(np.ndarray)
        # a slice is copied as a whole, which is faster than row by row
        first, last = (int(indices[0]), int(indices[-1]) + 1) if len(indices) else (0, 0)
        along = last - first == len(indices) and np.array_equal(indices, np.arange(first, last))
        taken = np.array(array[first:last]) if along else array.take(indices, 0)
        tensor = torch.from_numpy(taken)
        return (tensor if tensor.dtype == self.dtype else tensor.view(self.dtype)).to(device)


def find(folder: Path, address: str) -> Features | None:
    """Return the entry at `address`; None where there is none, or none that is whole."""
    entry = folder / address
    try:
        found = _read(entry)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("stored features in %s are damaged (%s): they are computed again", entry, error)
        return None
    with suppress(OSError):
        os.utime(entry / _CARD)  # last used now, for `evict`
    return found


def _read(entry: Path) -> Features:
    path, card = entry / _FEATURES, json.loads((entry / _CARD).read_text(encoding="utf-8"))
    if card["format"] != FORMAT:
        raise ValueError(f"format {card['format']}")
    # once per process: reading everything would cost as much as using it
    if _state(path) not in _verified and file_hash(path) != card["sha256"]:
        raise ValueError("other bytes than were written")
    _verified.add(_state(path))
    return Features(np.load(path, mmap_mode="r"), getattr(torch, card["dtype"]))


def _state(path: Path) -> tuple[str, int, int]:
    found = path.stat()
    return str(path), found.st_mtime_ns, found.st_size


def make(
    folder: Path,
    address: str,
    count: int,
    compute: Callable[[], Iterable[torch.Tensor]],
    *,
    limit: int,
    alike: int = 1,
) -> Features:
    """Return the entry at `address`, made of the batches `compute()` gives (`count` rows in all) unless
    another process made it meanwhile. Older entries make room: all together take at most `limit` bytes.

    alike: how many entries of this size are read together, so that none makes room for another.

    Raises `UserError` when there is no room on the disk, or they would need more than `limit`, and `OSError`
    when the disk cannot be written to.
    """
    with exclusive(folder / f"{address}.lock"):
        found = find(folder, address)
        if found is not None:
            return found
        discard(folder, address)
        path = folder / address / _FEATURES
        with atomic_path(path) as temporary:
            dtype = _write(temporary, count, compute(), lambda size: _make_room(folder, size, limit, alike))
        card = {"format": FORMAT, "dtype": str(dtype).removeprefix("torch."), "sha256": file_hash(path)}
        write_json(folder / address / _CARD, card)
        _verified.add(_state(path))
        return Features(np.load(path, mmap_mode="r"), dtype)


def _write(
    path: Path, count: int, batches: Iterable[torch.Tensor], make_room: Callable[[int], None]
) -> torch.dtype:
    done, dtype = 0, torch.float32
    # not through a map: on a full disk that would end the process
    with path.open("wb") as handle:
        for batch in batches:
            dtype, rows = batch.dtype, as_numpy(batch)
            if not done:
                make_room(count * rows[:1].nbytes)
                described = np.lib.format.header_data_from_array_1_0(rows)
                np.lib.format.write_array_header_2_0(
                    handle, {**described, "shape": (count, *rows.shape[1:]), "fortran_order": False}
                )
            handle.write(rows.data)
            done += len(rows)
    if done != count:
        raise ValueError(f"{done} rows of features for {count} pictures")
    return dtype


def as_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Return the same bits; bfloat16, which numpy does not know, as 16-bit integers."""
    tensor = tensor.detach().cpu().contiguous()
    array: np.ndarray = (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return array


def _make_room(folder: Path, size: int, limit: int, alike: int) -> None:
    if alike * size > limit:
        raise UserError(f"{alike * size} bytes of features, but trainer.prefix_cache_gib allows {limit}")
    evict(folder, limit - size)
    if size > shutil.disk_usage(folder).free:
        raise UserError(f"{folder} has no room for {size} bytes of features")


def evict(folder: Path, limit: int) -> None:
    """Remove what killed processes left, and the entries that were not used for the longest time until all
    take at most `limit` bytes. What some process is making stays.

    Who has an entry open goes on reading it: on a local disk, a removed file stays until it is closed.
    """
    with exclusive(folder / "room.lock"):
        entries = [each for each in folder.iterdir() if each.is_dir()]
        used = {entry: _last_used(entry) for entry in entries}
        sizes = {entry: _size(entry) for entry in entries}
        total = sum(sizes.values())
        for entry in sorted(entries, key=lambda entry: used[entry]):
            if used[entry] >= 0 and total <= limit:
                return
            with suppress(Timeout), FileLock(folder / f"{entry.name}.lock", timeout=0):
                discard(folder, entry.name)
                total -= sizes[entry]


def _last_used(entry: Path) -> float:
    """Return when an entry was used last; below 0 where it is none."""
    try:
        return (entry / _CARD).stat().st_mtime
    except OSError:
        return -1.0


def _size(entry: Path) -> int:
    total = 0
    for path in entry.iterdir() if entry.exists() else ():
        with suppress(OSError):
            total += path.stat().st_size
    return total


def discard(folder: Path, address: str) -> None:
    """Remove an entry, and what a killed process left of it; the card first, so that half of it is none.
    Its lock must be held."""
    entry = folder / address
    (entry / _CARD).unlink(missing_ok=True)
    shutil.rmtree(entry, ignore_errors=True)
