"""How fast networks are fine-tuned and probed at the size of photographs: docs/benchmarks.md.

    pip install -c constraints.txt -e '.[bench]'
    python benchmarks/photographs.py --rounds 3

Random pixels in memory take the place of pictures: they cost the same. Everybody has the same network, first
weights, pictures and batches, in a process of its own, of which the start is not timed. On a processor with
AVX-512, ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 makes the other kind. `--before FOLDER` compares
with an older checkout, too, where torchvision builds the network.
"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from command import arguments
from contestants.task import Task
from kept import rows_in
from pages import RESULTS, ROOT
from pictures import pictures
from side_by_side import Row, Run, compare, table, write
from tasks import at, contestant, deepest, prepared, process

from thawline.artifacts import write_json
from thawline.report.machine import describe_machine

WORKS = (
    ("timm:tf_efficientnet_lite0", 224, 96),
    ("mobilenet_v2", 224, 96),
    ("resnet18", 224, 96),
    ("resnet18", 64, 480),
)
"""Networks, sides in pixels, and how many pictures an epoch has."""

log = logging.getLogger("photographs")


def rows(architecture: str, size: int, count: int, rounds: int, before: Path | None) -> Iterator[list[Row]]:
    """Yield the rows of one network: an epoch of full fine-tuning, then a linear probe with its pass."""
    images, labels, classes = pictures(None, count, size)
    task = Task("", architecture, classes, 1, 32, threads=os.cpu_count() or 1)
    task = prepared(ROOT / "scratch" / "speed", task, images, labels)
    whole = at(task, 0)
    peers: dict[str, Run] = {
        "a loop with channels last": contestant(whole, "bare_channels_last"),
        "fastai": contestant(whole, "fastai_learner"),
        "timm": contestant(whole, "timm_loop"),
    }
    if before is not None and ":" not in architecture:
        path = whole.save(Path(whole.folder) / "task-before.json")
        peers["before"] = epoch_of(process("ours", path, whole.threads, before))
    work = f"{architecture}, {count} pictures of {size} px"
    ours = epoch_of(contestant(whole, "ours"))
    yield compare(f"{work}, an epoch of full fine-tuning", ours, peers, rounds=rounds)[0]
    probe = at(task, deepest(architecture))
    plain = {"scikit-learn on a plain pass": contestant(probe, "logistic_regression")}
    yield compare(f"{work}, linear probe", contestant(probe, "ours"), plain, rounds=rounds)[0]


def epoch_of(run: Run) -> Run:
    """Return `run` with the seconds of its epoch alone, without what a training prepares."""
    return lambda: {**(said := run()), "seconds": said["steps"]}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", type=Path, help="an older checkout")
    parser.add_argument("--name", default="photographs", help="of the file in benchmarks/results")
    chosen = parser.parse_args()
    path = RESULTS / f"{chosen.name}.json"
    write_json(path.with_suffix(".machine.json"), describe_machine())
    for architecture, size, count in WORKS:
        for found in rows(architecture, size, count, chosen.rounds, chosen.before):
            write(path, found)
    log.info("%s", table(rows_in(path)))


if __name__ == "__main__":
    main()
