"""What `thawline` writes to standard output: lines for people and programs, whatever names look like."""

import base64
import codecs
import csv
import io
import json
import os
import select
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from thawline.config.errors import FULL_DISK, is_full_disk
from thawline.config.paths import shown

if TYPE_CHECKING:
    from thawline.serving.predict import Prediction

_ESCAPED = {"\\": r"\\", "\n": r"\n", "\t": r"\t", "\r": r"\r"}
_UNSEEN = ("Cc", "Zl", "Zp")
"""Unicode categories of characters that end a line or move the cursor."""
_MORE = ("likeliest", "unknown", "distance", "remark")
"""What is said of some pictures only."""


@contextmanager
def standard_output() -> Iterator[None]:
    """Let the block write any text to standard output, and end the process quietly, with 0, where its
    reader has left (`thawline … | head -1`). Where the disk is full or standard output is closed, a sentence
    says so."""
    if sys.stdout is None:
        sys.exit(
            "error: standard output is closed.\n  to see nothing, write to /dev/null: thawline … > /dev/null"
        )
    # a locale that lacks a character is no reason to lose the line
    getattr(sys.stdout, "reconfigure", lambda **_: None)(errors="backslashreplace")
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_left():
            raise
        _write_no_more()
        sys.exit(0)
    except OSError as error:
        if not is_full_disk(error):
            raise
        _write_no_more()
        sys.exit(f"error: {FULL_DISK}")


def _write_no_more() -> None:
    """Let what is left go nowhere: else Python would try once more at its end, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _reader_left() -> bool:
    """Tell whether nobody reads standard output any more: else it was another pipe that broke."""
    try:
        output = select.poll()
        output.register(sys.stdout.fileno(), 0)
    except OSError:  # not a file of the system
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in output.poll(0))


def write_line(text: str) -> None:
    """Write a line and let its reader have it."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def as_json(value: object, indent: int | None = None) -> str:
    """Return `value` as JSON, in characters that standard output can show."""
    unicode = codecs.lookup(sys.stdout.encoding or "utf-8").name == "utf-8"
    text = json.dumps(value, indent=indent, ensure_ascii=not unicode)
    # JSON allows these inside a string, but much that reads line by line takes them for ends of lines
    return "".join(letter if letter not in "\x85\u2028\u2029" else f"\\u{ord(letter):04x}" for letter in text)


def entry(prediction: "Prediction") -> dict[str, object]:
    """Return a prediction as JSON shows it. A path whose bytes are no UTF-8 is there as base64 as well."""
    raw = os.fsencode(prediction.path)
    found: dict[str, object] = {"path": shown(os.fsdecode(raw))}
    if found["path"] != os.fsdecode(raw):
        found["path_base64"] = base64.b64encode(raw).decode()
    if prediction.error is not None:
        return {**found, "error": shown(prediction.error)}
    found |= {"label": prediction.label, "probabilities": prediction.probabilities}
    return found | {name: value for name in _MORE if (value := getattr(prediction, name)) is not None}


def line(prediction: "Prediction") -> str:
    """Return path, label and the three likeliest classes, tab-separated: `leaf1.jpg maple (maple 0.930, oak
    0.050, birch 0.010)`, then `unknown` where the picture is unlike the training pictures, and any remark; of
    a file that could not be read `error` and why."""
    if prediction.error is not None:
        return row([str(prediction.path), "error", prediction.error])
    likeliest = sorted(prediction.probabilities.items(), key=lambda item: -item[1])[:3]
    listed = ", ".join(f"{name} {value:.3f}" for name, value in likeliest)
    more = ["unknown"] if prediction.unknown else []
    more += [] if prediction.remark is None else [prediction.remark]
    return row([str(prediction.path), str(prediction.label), f"({listed})", *more])


def csv_header(classes: Sequence[str]) -> list[str]:
    """Return the names of the columns of `--csv`: a class may be called as another column is."""
    return ["path", "label", *(f"probability {name}" for name in classes), *_MORE, "error"]


def csv_cells(prediction: "Prediction", classes: Sequence[str]) -> list[str]:
    """Return the cells of a prediction, which are empty where there is nothing to say."""
    found = [f"{prediction.probabilities[name]:.9g}" if prediction.label else "" for name in classes]
    path = shown(str(prediction.path))
    more = (getattr(prediction, name) for name in _MORE)
    told = ["" if each is None else json.dumps(each) if not isinstance(each, str) else each for each in more]
    return [path, prediction.label or "", *found, *told, shown(prediction.error or "")]


def csv_row(cells: list[str]) -> str:
    """Return the cells as a line of CSV (RFC 4180), without its end; a cell may hold ends of lines."""
    written = io.StringIO(newline="")
    csv.writer(written).writerow(cells)
    return written.getvalue().removesuffix("\r\n")


def row(cells: list[str]) -> str:
    """Return the cells as one line with a tab between them. In a cell a backslash, and each character that is
    a tab or an end of line, or that moves the cursor, is a backslash and its code."""
    return "\t".join(shown("".join(map(_escaped, cell))) for cell in cells)


def _escaped(letter: str) -> str:
    if letter in _ESCAPED:
        return _ESCAPED[letter]
    if unicodedata.category(letter) in _UNSEEN:
        return letter.encode("unicode_escape").decode()
    return letter
