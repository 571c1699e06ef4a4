"""`thawline study` on the screen: tables in a terminal, plain lines where the output goes elsewhere."""

import sys
from collections.abc import Sequence
from pathlib import Path

from thawline.search import commands
from thawline.search.commands import Overview
from thawline.serving.output import row as tabbed
from thawline.serving.output import write_line
from thawline.wording import duration, percent, percent_with_range

Row = Sequence[str]


def show(name: str | None, url: str | None) -> None:
    """Show all studies, or one of them."""
    search = commands.storage_of(url)
    if name is not None:
        _show_one(commands.overview(commands.study_named(name, search)))
        return
    found = commands.studies(search)
    if not found:
        sys.stdout.write("no studies yet\n")
        return
    rows = [(each.name, each.goal, _states(each), _best(each), duration(each.seconds)) for each in found]
    _write(("study", "goal", "trials", "best", "time"), rows)


def _show_one(found: Overview) -> None:
    rows = [("study", found.name), ("goal", found.goal), ("trials", _states(found)), ("best", _best(found))]
    if found.best is not None:
        rows.append(
            ("parameters", ", ".join(f"{name} {_short(value)}" for name, value in found.best.params.items()))
        )
    if found.corrected:
        rows.append(("corrected", f"{percent_with_range(found.corrected)}: for having been selected"))
    rows.append(("time", duration(found.seconds)))
    rows += [(f"failure of trial {number}", reason) for number, reason in found.failures.items()]
    _write(None, rows)


def _states(found: Overview) -> str:
    return ", ".join(f"{count} {state}" for state, count in found.states.items()) or "none"


def _best(found: Overview) -> str:
    if found.best is None:
        return "–"
    accuracy, *costs = found.best.values
    cost = "".join(f", {cost:.3g} operations" for cost in costs)
    return f"{percent(accuracy)}{cost} (trial {found.best.number})"


def _short(value: object) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)


def _write(header: Row | None, rows: Sequence[Row]) -> None:
    if not sys.stdout.isatty():
        for row in [*([header] if header else []), *rows]:
            write_line(tabbed(list(row)))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*(header or ("", "")), show_header=header is not None, box=None, padding=(0, 2, 0, 0))
    for row in rows:
        # a reason may hold what rich would take for markup
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def resume(name: str, url: str | None) -> None:
    artifacts = commands.resume(name, commands.storage_of(url))
    sys.stdout.write(
        f"the study {name} is finished; its results are below {artifacts.outputs}\n"
        "next: dvc repro   (uses the finished study, and fine-tunes what it found)\n"
    )


def export(name: str, file: Path, url: str | None) -> None:
    count = commands.export(name, file, commands.storage_of(url))
    sys.stdout.write(f"{count} trials written to {file}\n")
