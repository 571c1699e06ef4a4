"""What each fit leaves below `fits/`: its model, report and settings, whatever is fitted next."""

import shutil
import sys
from itertools import count
from pathlib import Path

from omegaconf import OmegaConf

from thawline.artifacts import Artifacts
from thawline.config.composition import LOCK
from thawline.data.naming import name_of

KEPT = "fits"
"""Folder in which each fit's model, report and settings stay reachable."""


def keep(artifacts: Artifacts, pictures: Path) -> Path:
    """Copy model, report and settings of the fit to `pictures` below `fits/`, where no later fit to others
    removes them; return the folder.

    Of an earlier fit to the same pictures what somebody put there stays, and its model until the new one is
    whole.
    """
    kept = folder_of(artifacts.root / KEPT, pictures.name, _pictures_in(artifacts.root / LOCK))
    whole, partial = kept / "model", kept / "model.partial"
    if whole.exists():
        sys.stdout.write(f"\nreplaces the earlier fit in {kept.relative_to(artifacts.root)}\n")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(artifacts.stage("export"), partial)
    shutil.rmtree(whole, ignore_errors=True)
    partial.rename(whole)
    # the only files of a report that are not the same ones each time
    shutil.rmtree(kept / "report" / "figures", ignore_errors=True)
    shutil.copytree(artifacts.reports, kept / "report", dirs_exist_ok=True)
    shutil.copyfile(artifacts.root / LOCK, kept / LOCK)
    return kept


def _pictures_in(lock: Path) -> str:
    return str(OmegaConf.load(lock).target.root)


def folder_of(fits: Path, named: str, pictures: str) -> Path:
    """Return the folder of the fit to these pictures: `named` like theirs, with a number where other pictures
    have the name."""
    name = name_of(named) or "pictures"
    for number in count(1):
        found = fits / (name if number == 1 else f"{name}-{number}")
        if not (found / LOCK).exists() or _pictures_in(found / LOCK) == pictures:
            return found
    raise AssertionError
