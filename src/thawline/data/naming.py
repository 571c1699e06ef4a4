"""What somebody's pictures are called: as the folder, the archive or the table they lie in."""

from pathlib import Path

from thawline.config.pictures import DataSet
from thawline.data.archives import ARCHIVES

OWN = ("image_folder", "table")
"""Sets whose pictures are somebody's own."""

TABLES = (".csv", ".tsv")
"""How the names of tables end that list pictures."""


def called(data: DataSet) -> str | None:
    """Return the name of a set: of what pictures of one's own lie in, else of the set, which may lie in any
    folder; None where there is neither."""
    if data.root and (data.dataset is None or data.dataset.name in OWN):
        return name_of(data.root)
    return data.dataset and str(data.dataset.name)


def name_of(root: str | Path) -> str:
    """Return the name of the folder, or of the archive or table without its ending."""
    name = Path(root).name
    endings = [each for each in (*ARCHIVES, *TABLES) if name.lower().endswith(each)]
    return name[: -len(max(endings, key=len))] if endings else name
