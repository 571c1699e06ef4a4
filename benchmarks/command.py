"""How every script is called: its words, its log, and where data sets are."""

import argparse
import logging
import sys
from pathlib import Path


def arguments(words: str | None, data: bool = False) -> argparse.ArgumentParser:
    """Return what reads the command line of a script that is described by `words`, and begin its log; with
    `data` it is told where the data sets are."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    parser = argparse.ArgumentParser(description=words, formatter_class=argparse.RawDescriptionHelpFormatter)
    if data:
        parser.add_argument("--data", type=Path, required=True, help="the folder with the sets' .tar files")
    return parser
