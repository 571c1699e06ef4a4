"""How long a process takes to begin: the figures of docs/benchmarks.md.

    python benchmarks/start.py

Medians of alternating rounds, each in a process of its own, in seconds.
"""

import logging
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from command import arguments

ROUNDS = 7
MLFLOW = "from mlflow import MlflowClient"
STARTS = {
    "Python": ("-c", "pass"),
    "import thawline": ("-c", "import thawline"),
    "thawline --help": (str(Path(sys.executable).with_name("thawline")), "--help"),
    "import torch": ("-c", "import torch"),
    "the same, torchvision and an optimizer": (
        "-c",
        "import torch, torchvision; torch.optim.AdamW([torch.zeros(1, requires_grad=True)])",
    ),
    "a training stage's imports": (
        "-c",
        f"import hydra, thawline.stage, thawline.training.finetune, torch; {MLFLOW};"
        "torch.optim.AdamW([torch.zeros(1, requires_grad=True)])",
    ),
}
log = logging.getLogger("start")


def seconds(arguments: tuple[str, ...]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    arguments(__doc__).parse_args()
    took: dict[str, list[float]] = {name: [] for name in STARTS}
    for _ in range(ROUNDS):
        for name, given in STARTS.items():
            took[name].append(seconds(given))
    for name, found in took.items():
        log.info("%s: %.2f s (%.2f to %.2f)", name, median(found), min(found), max(found))


if __name__ == "__main__":
    main()
