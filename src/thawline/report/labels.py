"""reports/labels.csv: the pictures that were used and their labels, the most doubtful first, to correct."""

from pathlib import Path

import pandas as pd

COLUMNS = ("path", "label", "group", "split")


def labels_table(ranked: pd.DataFrame, predictions: pd.DataFrame, root: str | None) -> pd.DataFrame:
    """Return the table that `target=table` reads, so that a corrected copy is the next run's input.

    Test pictures come last, sorted by path: nobody judges their labels. Pictures are named by the full path
    of their file, wherever the copy lies; where they have none below `root` (of an archive or an embedded
    data set), as the data set calls them.

    Args:
        ranked: the training and validation pictures, with `COLUMNS`.
        predictions: of the test pictures, with the columns `path`, `label` and `group`.
    """
    test = predictions[["path", "label", "group"]].drop_duplicates("path").sort_values("path")
    found = pd.concat([ranked, test.assign(split="test")], ignore_index=True)[list(COLUMNS)]
    if root is None:
        return found
    folder = Path(root).parent if Path(root).is_file() else Path(root)
    files = [folder / path for path in found["path"]]
    return found.assign(
        path=[str(file) if file.is_file() else path for file, path in zip(files, found["path"], strict=True)]
    )
