"""One contestant in a process of its own: `python benchmarks/contestant.py NAME FILE`, FILE being its task.

What it needs is imported and loaded first; what is timed comes after. The last line it writes is JSON.
"""

import importlib
import json
import sys
import time
from pathlib import Path


def main() -> None:
    name, path = sys.argv[1:]
    train = importlib.import_module(f"contestants.{name}").prepare(Path(path))
    _wait()
    started = time.perf_counter()
    found = train()
    _wait()
    seconds = time.perf_counter() - started
    sys.stdout.write(f"\n{json.dumps({'seconds': seconds, **found})}\n")


def _wait() -> None:
    """Until a GPU has done everything that was asked of it."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
