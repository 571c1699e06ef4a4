"""Contestants do the same work in turns, each in a process of its own: medians, and the ratios of neighbours.

A machine is never equally fast for an hour. So nobody is compared with what somebody else took ten minutes
ago, but each with its neighbour in the same round; the order alternates from round to round.
"""

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

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
    key: str = "seconds",
) -> tuple[list[Row], dict[str, list[Measured]]]:
    """A row per peer, and what every contestant said in each round."""
    said: dict[str, list[Measured]] = {name: [] for name in ("ours", *peers)}
    contestants = list({"ours": ours, **peers}.items())
    for turn in range(rounds):
        for name, run in contestants if turn % 2 == 0 else contestants[::-1]:
            said[name].append(run())
            log.info("%s: %s took %.2f s", work, name, said[name][-1][key])
    return [row(work, name, said["ours"], said[name], limit, key) for name in peers], said


def row(
    work: str, name: str, ours: Sequence[Measured], peer: Sequence[Measured], limit: float | None, key: str
) -> Row:
    mine, theirs = ([each[key] for each in measured] for measured in (ours, peer))
    ratios = [their / my for my, their in zip(mine, theirs, strict=True)]
    return Row(
        work,
        median(mine),
        median(theirs),
        name,
        median(ratios),
        limit,
        "s",
        len(ratios),
        min(ratios),
        max(ratios),
    )


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
    import torch

    torch.set_num_threads(threads)
    gpu = torch.device(device).type == "cuda"
    kind = torch.bfloat16 if gpu else torch.float32
    best = 0.0
    side = 8192 if gpu else 1024
    matrix = torch.randn(side, side, device=device, dtype=kind)
    best = max(best, 2 * side**3 / _seconds(lambda: matrix @ matrix, gpu))
    for channels, size in ((64, 16), (128, 8), (256, 14)):
        layer = torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False, device=device, dtype=kind)
        given = torch.randn(256 if gpu else 32, channels, size, size, device=device, dtype=kind)
        given = given.contiguous(memory_format=torch.channels_last)
        layer = layer.to(memory_format=torch.channels_last)
        work = 2 * 9 * channels**2 * size**2 * len(given)
        with torch.no_grad():
            best = max(best, work / _seconds(lambda: layer(given), gpu))  # noqa: B023
    return best


def _seconds(function: Callable[[], object], gpu: bool, repeats: int = 20) -> float:
    import torch

    def wait() -> None:
        if gpu:
            torch.cuda.synchronize()

    function()
    took = []
    for _ in range(repeats):
        wait()
        started = time.perf_counter()
        function()
        wait()
        took.append(time.perf_counter() - started)
    return min(took)


def write(path: Path, rows: Sequence[Row]) -> None:
    """`path` with these rows; those of other works stay. Written after every work, so that an interrupted
    benchmark keeps what it measured."""
    fresh = {each.work for each in rows}
    kept = [each for each in read(path) if each["work"] not in fresh]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([*kept, *map(asdict, rows)], indent=2) + "\n", encoding="utf-8")


def read(path: Path) -> list[dict[str, Any]]:
    return list(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else []


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| work | peer | ours | peer's | times as fast | least and most | limit | runs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for each in rows:
        limit = "" if each["limit"] is None else f"{each['limit']:.3g} {each['unit']}"
        lines.append(
            f"| {each['work']} | {each['peer_name']} | {each['ours']:.3g} {each['unit']} "
            f"| {each['peer']:.3g} {each['unit']} | {each['ratio']:.2f} "
            f"| {each['min']:.2f} to {each['max']:.2f} | {limit} | {each['runs']} |"
        )
    return "\n".join(lines)
