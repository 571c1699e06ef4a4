"""Contestants do the same work in turns, each in a process of its own: medians, and the ratios of neighbours.

A machine is never equally fast for an hour. So nobody is compared with what somebody else took ten minutes
ago, but each with its neighbour in the same round; the order alternates from round to round.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pages
import torch
from kept import put
from torch.utils.benchmark import Timer

log = logging.getLogger(__name__)

Measured = dict[str, Any]
"""What one run of a contestant says: `seconds` and more."""

Run = Callable[[], Measured]


@dataclass(frozen=True)
class Row:
    """`ours` and `peer` are medians over `runs` rounds, `ratio` the median of each round's quotient (above 1:
    ours is better), `min` and `max` its extremes. `limit` is what the machine would need for our work if it
    did nothing else, in the same unit; None where nothing was counted."""

    work: str
    ours: float
    peer: float
    peer_name: str
    ratio: float
    limit: float | None
    unit: str
    runs: int
    min: float
    max: float


def compare(
    work: str,
    ours: Run,
    peers: dict[str, Run],
    *,
    rounds: int,
    limit: float | None = None,
) -> tuple[list[Row], dict[str, list[Measured]]]:
    """A row per peer, and what every contestant said in each round."""
    said: dict[str, list[Measured]] = {name: [] for name in ("ours", *peers)}
    contestants = list({"ours": ours, **peers}.items())
    for turn in range(rounds):
        for name, run in contestants if turn % 2 == 0 else contestants[::-1]:
            said[name].append(run())
            log.info("%s: %s took %.2f s", work, name, said[name][-1]["seconds"])
    return [row(work, name, said["ours"], said[name], limit) for name in peers], said


def row(work: str, name: str, ours: Sequence[Measured], peer: Sequence[Measured], limit: float | None) -> Row:
    mine, theirs = ([each["seconds"] for each in measured] for measured in (ours, peer))
    ratios = [their / my for my, their in zip(mine, theirs, strict=True)]
    own, other, ratio = map(median, (mine, theirs, ratios))
    return Row(work, own, other, name, ratio, limit, "s", len(ratios), min(ratios), max(ratios))


def alone(command: Sequence[str], environment: dict[str, str] | None = None) -> Measured:
    """What `command` says in the last line it writes. Raises SystemExit with its words when it fails."""
    run = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
        check=False,
    )
    if run.returncode:
        raise SystemExit(f"error: {' '.join(command)} ended with {run.returncode}\n{run.stderr[-2000:]}")
    return dict(json.loads(run.stdout.splitlines()[-1]))


def operations_per_second(device: str, threads: int) -> float:
    """The most floating-point operations this machine does in a second: of a matrix product and of 3 × 3
    convolutions in the sizes of a ResNet, in 32 bits on a CPU and in bfloat16 on a GPU."""
    kind = torch.bfloat16 if torch.device(device).type == "cuda" else torch.float32
    wide = kind is torch.bfloat16
    place: dict[str, Any] = {"device": device, "dtype": kind}

    def rate(operations: int, function: Callable[[], object]) -> float:
        timer = Timer("function()", globals={"function": function}, num_threads=threads)
        return operations / min(timer.blocked_autorange(min_run_time=0.5).times)

    side = 8192 if wide else 1024
    matrix = torch.randn(side, side, **place)
    rates = [rate(2 * side**3, lambda: matrix @ matrix)]
    for channels, size in ((64, 16), (128, 8), (256, 14)):
        layer = torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False, **place)
        layer = layer.to(memory_format=torch.channels_last).requires_grad_(False)
        given = torch.randn(256 if wide else 32, channels, size, size, **place)
        given = given.contiguous(memory_format=torch.channels_last)
        rates.append(rate(2 * 9 * channels**2 * size**2 * len(given), partial(layer, given)))
    return max(rates)


def write(path: Path, rows: Sequence[Row]) -> None:
    """Add rows to `path` in place of those of the same work. Done after every work, so that an interrupted
    benchmark keeps what it measured."""
    put(path, [asdict(each) for each in rows], "work")


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows in Markdown."""
    lines = []
    for each in rows:
        unit, ratios = each["unit"], f"{each['min']:.2f} to {each['max']:.2f}"
        limit = "" if each["limit"] is None else f"{each['limit']:.3g} {unit}"
        both = [f"{each[name]:.3g} {unit}" for name in ("ours", "peer")]
        told = (f"{each['ratio']:.2f}", ratios, limit, str(each["runs"]))
        lines.append([each["work"], each["peer_name"], *both, *told])
    names = ("work", "peer", "ours", "peer's", "times as fast", "least and most", "limit", "runs")
    return pages.table(names, lines, "|---")
