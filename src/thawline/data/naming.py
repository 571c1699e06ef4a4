"""What somebody's pictures are called: as the folder, the archive or the table they lie in."""

from pathlib import Path

from thawline.data.archives import ARCHIVES

TABLES = (".csv", ".tsv")
"""How the names of tables end that list pictures."""


def name_of(root: str | Path) -> str:
    """Return the name of the folder, or of the archive or table without its ending."""
    name = Path(root).name
    endings = [each for each in (*ARCHIVES, *TABLES) if name.lower().endswith(each)]
    return name[: -len(max(endings, key=len))] if endings else name
