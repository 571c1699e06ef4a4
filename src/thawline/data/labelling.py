"""Labelling functions: functions of a picture, in a Python file or module, each of which is a voter."""

import importlib
import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image

from thawline.config.composition import located
from thawline.config.errors import UserError
from thawline.data.collection import Collection
from thawline.data.names import normal
from thawline.data.picture_files import UnreadablePictureError, refusing
from thawline.data.transform import UnusablePictureError
from thawline.progress import progress

Function = Callable[[Image.Image], Any]


def functions_of(name: str) -> dict[str, Function]:
    """Return the functions that a Python file (its path, `.py`) or a module (its dotted name) defines, by
    their names and in their order: those whose names do not begin with an underscore.

    Raises `UserError` where it cannot be imported or defines none.
    """
    try:
        module = _from_file(located(name)) if name.endswith(".py") else importlib.import_module(name)
    except Exception as error:  # a person's code may raise anything
        what = f"{type(error).__name__}: {error}"
        raise UserError(
            f"target.labelling = {name} cannot be imported: {what}\n"
            "  Give the path of a Python file, or the name of a module of this environment."
        ) from None
    found: dict[str, Function] = {
        each: function
        for each, function in vars(module).items()
        if inspect.isfunction(function) and function.__module__ == module.__name__ and each[0] != "_"
    }
    if not found:
        raise UserError(
            f"target.labelling = {name} defines no function.\n"
            "  Write functions of a picture (PIL.Image.Image) that return a class's name, or None to abstain."
        )
    return found


def _from_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"labelling_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def answers(name: str, collection: Collection) -> dict[str, list[str]]:
    """Return what each function of `name` calls each picture, in order, empty where it abstains or the
    picture cannot be read.

    Raises `UserError` with the file, the function and the picture where one raises, or returns anything but
    text or None.
    """
    functions = functions_of(name)
    found: dict[str, list[str]] = {f"{each}()": [] for each in functions}
    with progress("asking labelling functions", len(collection.items)) as advance:
        for position, item in enumerate(collection.items):
            picture = _opened(collection, position)
            for each, function in functions.items():
                said = "" if picture is None else _answer(name, each, function, picture, item.path)
                found[f"{each}()"].append(said)
            advance()
    return found


def _opened(collection: Collection, position: int) -> Image.Image | None:
    try:
        with refusing():
            picture = collection.open(position)
            picture.load()
    except (UnreadablePictureError, UnusablePictureError):
        return None  # preparing says why
    return picture


def _answer(name: str, function: str, call: Function, picture: Image.Image, path: str) -> str:
    try:
        # a copy, because it may draw on it
        said = call(picture.copy())
    except Exception as error:
        line = _line_of(error, call)
        raise UserError(
            f"the labelling function {function} of {name}{line} fails on {path}: "
            f"{type(error).__name__}: {error}\n"
            "  Let it return None for pictures that it cannot say anything of. Nothing was changed."
        ) from error
    if said is not None and not isinstance(said, str):
        raise UserError(
            f"the labelling function {function} of {name} returns {said!r} for {path}.\n"
            "  It must return a class's name, or None to abstain."
        )
    return normal(said or "").strip()


def _line_of(error: Exception, function: Function) -> str:
    """Say in which line of the function's file the error was."""
    trace, found = error.__traceback__, ""
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == function.__code__.co_filename:
            found = f", line {trace.tb_lineno},"
        trace = trace.tb_next
    return found
