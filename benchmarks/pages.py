"""Tables of docs/: their rows in Markdown, and their places between two marks of a page."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from thawline.artifacts import write_text
from thawline.config.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def table(names: Sequence[str], rows: Iterable[Sequence[str]], below: str = "| --- ") -> str:
    """Return a table; what a row lacks is left empty, and `below` each name a line is drawn."""

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |" + " |" * (len(names) - len(cells))

    return "\n".join([line(names), f"{below * len(names)}|", *map(line, rows)])


def interval(mean: float, low: float, high: float, form: str = ".3f", scale: float = 1) -> str:
    """Return a mean and the ends of its interval, times `scale`."""
    return f"{scale * mean:{form}} ({scale * low:{form}} to {scale * high:{form}})"


def filled(document: str, texts: Mapping[str, str], page: str = "the page") -> str:
    """Return `document` with each text between the marks that name it. Raises UserError without marks."""
    for name, text in texts.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        if begin not in document or end not in document:
            raise UserError(f"{page} has no place for {name}.\n  Add the lines {begin} and {end} to it.")
        before, rest = document.split(begin, 1)
        document = f"{before}{begin}\n{text}\n{end}{rest.split(end, 1)[1]}"
    return document


def fill(page: str, texts: Mapping[str, str], root: Path = ROOT) -> None:
    """Put each text between its marks in a page of docs/."""
    path = root / "docs" / page
    write_text(path, filled(path.read_text(encoding="utf-8"), texts, f"docs/{page}"))
