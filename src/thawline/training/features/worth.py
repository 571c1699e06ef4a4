"""Measure whether it is worth storing what the frozen prefix makes of each picture.

A prefix is measured once and the measurement is kept beside the stored features, so that every process and
every repetition in a checkout decides alike.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from thawline.artifacts import exclusive, write_json
from thawline.training.features.files import as_numpy

GAIN = 2.0
"""How much faster storing must be. With less, two measurements of one prefix would too often decide
differently, and the last bits of results with them."""

_PROBE_BYTES = 4 * 2**20
"""Written and read to measure the disk and the memory."""


@dataclass(frozen=True)
class Speed:
    """Seconds per picture: to compute its features, to write them to the disk and to read them again, on the
    device of the training; `bytes` are those of one picture's features."""

    compute: float
    write: float
    read: float
    bytes: int

    def seconds(self, epochs: int, variants: int = 1) -> tuple[float, float]:
        """Return seconds per picture over `epochs` passes: computing the features in each, or those of all
        variants once and reading them."""
        return epochs * self.compute, variants * (self.compute + self.write) + epochs * self.read

    def worth(self, epochs: int, variants: int = 1) -> bool:
        """Tell whether storing is faster by so much that it is faster whoever measures it."""
        again, stored = self.seconds(epochs, variants)
        return GAIN * stored < again


def speed_of(
    folder: Path, name: str, features: Callable[[], torch.Tensor], device: torch.device | str = "cpu"
) -> Speed:
    """Return what `name` was measured to be, or measure it by computing `features()` `(b, …)` on `device`
    twice, the first time to warm up, and by writing and reading as many bytes."""
    path = folder / f"{name}.speed.json"
    with exclusive(folder / f"{name}.lock"):
        try:
            return Speed(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            speed = _measure(folder, features, torch.device(device))
            write_json(path, asdict(speed))
            return speed


def _measure(folder: Path, features: Callable[[], torch.Tensor], device: torch.device) -> Speed:
    features()
    compute, found = _timed(features, device)
    copy, rows = _timed(lambda: as_numpy(found), device)
    size = rows[:1].nbytes
    probe = np.resize(rows, (max(len(rows), _PROBE_BYTES // max(1, size)), *rows.shape[1:]))
    write, read = _write_and_read(folder / f".{os.getpid()}.probe", probe, device)
    return Speed(compute / len(rows), write / len(probe) + copy / len(rows), read / len(probe), size)


Result = TypeVar("Result")


def _timed(function: Callable[[], Result], device: torch.device) -> tuple[float, Result]:
    """Return the seconds until the device is done, and the result."""
    _wait_for(device)
    started = time.perf_counter()
    result = function()
    _wait_for(device)
    return time.perf_counter() - started, result


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _write_and_read(path: Path, rows: np.ndarray, device: torch.device) -> tuple[float, float]:
    def write() -> None:
        with path.open("wb") as handle:
            np.save(handle, rows)
            handle.flush()
            os.fsync(handle.fileno())

    def read() -> torch.Tensor:
        order = np.random.default_rng(0).permutation(len(rows))
        return torch.from_numpy(np.take(np.load(path, mmap_mode="r"), order, axis=0)).to(device)

    try:
        return _timed(write, device)[0], _timed(read, device)[0]
    finally:
        path.unlink(missing_ok=True)
