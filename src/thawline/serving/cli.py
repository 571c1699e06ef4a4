"""The command `thawline`. Nothing heavy is imported before the arguments are known to be right."""

import argparse
import logging
import re
import shlex
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from thawline.config.addresses import advice, is_address
from thawline.config.errors import UserError, alike
from thawline.machine import ending_at_once, start_threads_sparingly
from thawline.progress import Advance, progress, say_nothing
from thawline.serving.output import (
    as_json,
    csv_cells,
    csv_header,
    csv_row,
    entry,
    line,
    standard_output,
    write_line,
)

MANY = 200
"""Files from which on `predict` says how far it is."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line `thawline`, and exit with 1 where a picture could not be read."""
    start_threads_sparingly()
    with ending_at_once("thawline"), standard_output():
        _run(_parsed(arguments))


def _run(given: argparse.Namespace) -> None:
    level = logging.INFO if given.command == "study" else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    try:
        failed = COMMANDS[given.command](given)
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        if given.command != "predict":
            sys.stderr.write("\ninterrupted; run the same command again to go on\n")
        sys.exit(130)
    sys.exit(1 if failed else 0)


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    """Return what the arguments say; exit with 2 where they say nothing that is known."""
    parser, commands, studies = _parser()
    given, left = parser.parse_known_args(arguments)
    if left:
        program = commands.choices[given.command]
        if (action := getattr(given, "action", None)) is not None:
            program = studies.choices[action]
        parser.exit(2, f"error: {_not_understood(left[0], program.format_usage(), program.prog)}\n")
    return given


def _not_understood(word: str, usage: str, program: str) -> str:
    """Return what is wrong with an argument that is left over, and what was probably meant."""
    if word.startswith("-"):
        option = word.partition("=")[0]
        nearest = alike(option, re.findall(r"(?<![\w-])--?[a-zA-Z]+", usage.replace("[-h]", "")))
        meant = f"; nearest: {', '.join(nearest)}" if nearest else ""
        return f"{program} has no option {option}{meant}.\n  all of them: {program} --help"
    if "=" in word and "[-S " in usage:
        return f"{word} is a setting.\n  settings follow -S: -S {shlex.quote(word)}"
    if "[FILE|FOLDER ...]" in usage:
        return f"{word} is apart from the other files.\n  options come before all of them, or after"
    return f"{word} is one argument too many.\n  what is asked for: {program} --help"


_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _parser() -> tuple[argparse.ArgumentParser, _Commands, _Commands]:
    parser = argparse.ArgumentParser(
        prog="thawline",
        description="Make a model of photographs, use it, and look at what was found.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    _add_fit(commands)
    words = "say where the report's page is, or open it"
    report = commands.add_parser("report", help=words, description=words[0].upper() + words[1:] + ".")
    report.add_argument("--open", action="store_true", help="open it in the browser")
    predict = commands.add_parser("predict", help="label pictures", description="Label pictures.")
    predict.add_argument("paths", nargs="+", type=_path, metavar="FILE|FOLDER")
    form = predict.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON array with all probabilities")
    form.add_argument(
        "--jsonl", action="store_true", help="print one JSON object a line, as soon as it is known"
    )
    form.add_argument("--csv", action="store_true", help="print a table with all probabilities")
    predict.add_argument(
        "--unknown",
        action="store_true",
        help="say unknown in place of the label of a picture unlike the training pictures, not beside it",
    )
    predict.add_argument(
        "--batch", type=_count, default=8, metavar="N", help="pictures at once (default: %(default)s)"
    )
    predict.add_argument(
        "--model",
        type=_path,
        help="the bundle (default: artifacts/export, until then the plan's)",
    )
    _add_serve(commands)
    words = "look at studies, go on with one, or export its trials"
    study = commands.add_parser("study", help=words, description=words[0].upper() + words[1:] + ".")
    studies = study.add_subparsers(dest="action", required=True)
    _add_study_commands(studies)
    return parser, commands, studies


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of pictures\n  give 1 or more, such as 32")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text} is not a port\n  give 1 to 65535, such as 5001")
    return int(text)


def _path(text: str) -> Path:
    if not text:  # what a shell makes of "$PICTURES" where that is not set; Python takes it for this folder
        raise argparse.ArgumentTypeError("the path is empty\n  give a path; this folder is .")
    if is_address(text):
        raise argparse.ArgumentTypeError(f"{text} is an address\n  give {advice(text)}")
    return Path(text)


def _add_fit(commands: _Commands) -> None:
    fit = commands.add_parser(
        "fit",
        help="make a classifier of your photographs",
        description="Make a classifier of your photographs: a `dvc exp run`, which is printed.",
    )
    words = "pictures in a folder for each class, an archive of them, or a table (.csv, .tsv) of path,label"
    fit.add_argument("folder", type=_path, metavar="FOLDER", help=words)
    words = (
        "of the whole; a search that would exceed it by 15 %% ends with what it has (default: %(default)g)"
    )
    fit.add_argument("--minutes", type=float, default=10.0, help=words)
    words = "a name in conf/source, or a file with weights (default: imagenet); several: the best is chosen"
    fit.add_argument(
        "--source", dest="sources", action="append", metavar="NAME|FILE|ARCHITECTURE=FILE", help=words
    )
    fit.add_argument(
        "-S", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="any other setting"
    )


def _add_serve(commands: _Commands) -> None:
    serve = commands.add_parser(
        "serve",
        help="answer requests with the registered model",
        description="Run MLflow's server on the newest registered model (export.formats with mlflow).",
    )
    serve.add_argument("--host", default="127.0.0.1", help="address to listen at (default: %(default)s)")
    serve.add_argument("--port", type=_port, default=5001, help="(default: %(default)s)")


def _add_study_commands(actions: _Commands) -> None:
    show = actions.add_parser("show", help="all studies, or one")
    show.add_argument("name", nargs="?", metavar="NAME", help="a study (default: all of them)")
    resume = actions.add_parser("resume", help="run the trials that a study still lacks")
    resume.add_argument("name", metavar="NAME")
    export = actions.add_parser("export", help="write all trials of a study to a file")
    export.add_argument("name", metavar="NAME")
    export.add_argument("file", type=Path, metavar="FILE", help="ends in .csv or .json")
    for action in (show, resume, export):
        action.add_argument(
            "--storage", metavar="URL", help="the database of studies (default: the one the pipeline uses)"
        )


def _study(given: argparse.Namespace) -> int:
    from thawline.serving import studies

    if given.action == "show":
        studies.show(given.name, given.storage)
    elif given.action == "resume":
        studies.resume(given.name, given.storage)
    else:
        studies.export(given.name, given.file, given.storage)
    return 0


def _fit(given: argparse.Namespace) -> int:
    from thawline.artifacts import pipeline_root
    from thawline.fit import fit

    if given.minutes <= 0:
        raise UserError(f"--minutes {given.minutes:g} is not a time.\n  give minutes above 0, such as 10")
    fit(given.folder, given.minutes, given.sources or ["imagenet"], given.settings, pipeline_root())
    return 0


def _report(given: argparse.Namespace) -> int:
    """Print where the last report's page is; return whether no browser could be found to open it."""
    import webbrowser

    from thawline.artifacts import PAGE, Artifacts, missing, pipeline_root

    page = Artifacts.under(pipeline_root()).reports / PAGE
    if not page.exists():
        raise missing(page)
    write_line(str(page))
    return int(given.open and not webbrowser.open(page.as_uri()))


def _serve(given: argparse.Namespace) -> int:
    from thawline.artifacts import pipeline_root
    from thawline.serving.serve import serve

    return serve(pipeline_root(), given.host, given.port)


def _predict(given: argparse.Namespace) -> int:
    """Print predictions; return how many files could not be read."""
    from thawline.artifacts import pipeline_root
    from thawline.serving.predict import bundle_in, card_of, has_bundle, network_of, picture_files, predict

    files = picture_files(given.paths)
    here = Path("artifacts")
    bundle = given.model or bundle_in(here if has_bundle(here) else pipeline_root() / here)
    card = card_of(bundle)
    failed = 0
    entries = []
    if given.csv:
        write_line(csv_row(csv_header(card.classes)))
    with _told(len(files)) as advance:
        for number, prediction in enumerate(predict(lambda: network_of(bundle), card, files, given.batch), 1):
            failed += prediction.error is not None
            if given.unknown and prediction.unknown:
                prediction = replace(prediction, label="unknown")
            if given.json:
                entries.append(entry(prediction))
            elif given.csv:
                write_line(csv_row(csv_cells(prediction, card.classes)))
            else:
                write_line(as_json(entry(prediction)) if given.jsonl else line(prediction))
            # the answers of a batch come together: one of them is no pace to go by
            if number % given.batch == 0 or number == len(files):
                advance((number - 1) % given.batch + 1)
    if given.json:
        write_line(as_json(entries, indent=2))
    return failed


def _told(count: int) -> AbstractContextManager[Advance]:
    """Show how far it is, where there are many files and no answers on the screen that show it."""
    if count < MANY or sys.stdout.isatty():
        return nullcontext(say_nothing)
    logging.getLogger(progress.__module__).setLevel(logging.INFO)
    return progress("labelling", count)


COMMANDS = {"fit": _fit, "predict": _predict, "report": _report, "serve": _serve, "study": _study}
