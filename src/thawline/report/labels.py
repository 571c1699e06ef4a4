"""reports/labels.csv: the pictures that were used and their labels, the most doubtful first, to correct."""

import os
from pathlib import Path

import pandas as pd

from thawline.config.composition import located, repository_root
from thawline.data.sets.image_folder import files_by_name

COLUMNS = ("path", "label", "group", "split")


def labels_table(ranked: pd.DataFrame, predictions: pd.DataFrame, root: str | None) -> pd.DataFrame:
    """Return the table that `target=table` reads, so that a corrected copy is the next run's input.

    Test pictures come last, sorted by path: nobody judges their labels. Wherever the copy lies, pictures in
    the repository are found by their path below it, which is the same when it was moved, others by the full
    path of their file; where they have none below `root` (of an archive or an embedded data set), they are
    named as the data set calls them.

    Args:
        ranked: the training and validation pictures, with `COLUMNS`.
        predictions: of the test pictures, with the columns `path`, `label` and `group`.
    """
    test = predictions[["path", "label", "group"]].drop_duplicates("path").sort_values("path")
    found = pd.concat([ranked, test.assign(split="test")], ignore_index=True)[list(COLUMNS)]
    if root is None:
        return found
    place = located(root)
    folder = Path(os.path.normpath(place.parent if place.is_file() else place))  # no name leads out of it
    files = {path: folder / path for path in found["path"]}
    if place.is_dir() and not all(file.is_file() for file in files.values()):
        # a name leaves out what is above all pictures, and has one Unicode form whatever the disk has
        files |= files_by_name(folder)
    return found.assign(path=[_named(files[path], path) for path in found["path"]])


def _named(file: Path, path: str) -> str:
    if not file.is_file():
        return path
    home = repository_root()
    return (file.relative_to(home) if file.is_relative_to(home) else file).as_posix()
