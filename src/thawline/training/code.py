"""Which code a training ran, so that what an older one left unfinished is not gone on with."""

from importlib.metadata import version
from pathlib import Path

import torch

import thawline
from thawline.artifacts import file_hash, fingerprint

FOLDERS = ("data", "models", "training", "search")

BY_HAND = ("training/range_test.py", "training/rising_rates.py", "search/commands.py")
"""Modules in these folders that no training runs: tools to be called by hand."""


def code_version(*, threads: bool = True) -> str:
    """Hash of the modules that decide a training, of torch and of what it computes on.

    threads: of how many threads, too; not for studies, whose workers share them out.
    """
    root = Path(thawline.__file__).parent
    files = [path for folder in FOLDERS for path in sorted((root / folder).rglob("*.py"))]
    named = [(path.relative_to(root).as_posix(), path) for path in files]
    # a change of theirs must not throw away studies and checkpoints
    parts = [[name, file_hash(path)] for name, path in named if name not in BY_HAND]
    libraries = [version("torch"), version("torchvision"), version("optuna")]
    count = torch.get_num_threads() if threads else None
    return fingerprint([parts, libraries, count, torch.cuda.is_available()])
