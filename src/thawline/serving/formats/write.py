"""Further formats beside the bundle: each is written if it answers as the bundle does, or says why not."""

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch.export import ExportedProgram

from thawline.artifacts import COSTS, write_json
from thawline.config.errors import UserError, first_line
from thawline.config.sections import ExportFormat
from thawline.data.content import file_at
from thawline.data.decoding import Decoder
from thawline.data.picture_files import open_picture
from thawline.data.store import Store
from thawline.models.answer import Answer, load_answer
from thawline.models.card import ModelCard
from thawline.serving.formats import int8, parity
from thawline.serving.formats.program import INPUT, as_program, write_onnx, write_program
from thawline.serving.predict import network_of, predict

log = logging.getLogger(__name__)

OUTCOMES = "formats.json"
ONNX, PROGRAM, SCRIPT = "model.onnx", "model.pt2", "predict.py"
FILES = (ExportFormat.onnx, ExportFormat.torch_export, ExportFormat.onnx_int8)
"""Formats that are files beside the bundle, each in the folder of its name."""


class MissedError(Exception):
    """The model in this format is not what it should be; the message says by how much."""


@dataclass
class Source:
    """The model that is written: the bundle's answer, and the pictures it is compared on."""

    bundle: Path
    answer: Answer
    card: ModelCard
    store: Store

    @cached_property
    def program(self) -> ExportedProgram:
        """The network with its preprocessing, traced once for all formats."""
        return as_program(self.answer, self.card.transform)

    def require_same(self, answer: parity.Asked, pictures: Path) -> str:
        """Return how far `answer` is from the bundle's. Raises `MissedError` where that is too far."""
        files = parity.write_pictures(self.store, pictures)
        ours = list(predict(partial(network_of, self.bundle), self.card, files))
        found = parity.difference(ours, self.card.classes, answer)
        if found.missed:
            raise MissedError(found.missed)
        return f"its probabilities differ from the bundle's by at most {found.probability:.1e}"


def write_formats(formats: Sequence[ExportFormat], bundle: Path, store: Store) -> None:
    """Write each of `formats` that is a file into its folder of the bundle, and what became of each into
    formats.json. Those that are not asked for are removed.

    store: the training pictures, from which the files of the gate are made, and the validation pictures.
    Raises `UserError` where a package is missing.
    """
    for each in FILES:
        shutil.rmtree(bundle / each.name, ignore_errors=True)
    (bundle / OUTCOMES).unlink(missing_ok=True)
    asked = [each for each in FILES if each in formats]
    if asked:
        _require_packages(asked)
        source = Source(bundle, *load_answer(bundle), store)
        write_json(bundle / OUTCOMES, {each.name: _written(each, bundle, source) for each in asked})


def _require_packages(asked: Sequence[ExportFormat]) -> None:
    named = [each.name for each in asked if each is not ExportFormat.torch_export]
    absent = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if named and absent:
        raise UserError(
            f"export.formats asks for {' and '.join(named)}, but {', '.join(absent)} is not installed.\n"
            "  install it: pip install 'thawline[onnx]'; or leave it out of export.formats"
        )


def _written(format: ExportFormat, bundle: Path, source: Source) -> str:
    """Write one format, whole or not at all; return in words how it compares with the bundle."""
    with TemporaryDirectory(dir=bundle, prefix=".") as temporary:
        folder, pictures = Path(temporary, format.name), Path(temporary, "pictures")
        folder.mkdir()
        pictures.mkdir()
        try:
            said = WRITERS[format](source, folder, pictures)
        except (OSError, MemoryError):
            raise  # another time there is room
        except Exception as error:  # exporters raise whatever their many parts raise
            log.debug("why %s was not written", format.name, exc_info=error)
            reason = first_line(error)
            if not isinstance(error, MissedError):
                reason = f"{type(error).__name__}: {reason}"
            log.warning("the model is not written as %s: %s", format.name, reason)
            return f"not written: {reason}"
        folder.rename(bundle / format.name)
        log.info("the model is written as %s: %s", format.name, said)
        return said


def _onnx(source: Source, folder: Path, pictures: Path) -> str:
    write_onnx(folder / ONNX, source.program, source.card)
    script = _put_script(folder)
    # the gate asks the script that is given away, and leaves no compiled file beside it
    names = {"__name__": "predict", "__file__": str(script)}
    exec(compile(script.read_text(encoding="utf-8"), SCRIPT, "exec"), names)
    answer: parity.Asked = names["answer"]  # type: ignore[assignment]
    return source.require_same(answer, pictures)


def _put_script(folder: Path) -> Path:
    return shutil.copyfile(Path(__file__).with_name("predict_onnx.py"), folder / SCRIPT)


def _torch_export(source: Source, folder: Path, pictures: Path) -> str:
    write_program(folder / PROGRAM, source.program, source.card)
    program = torch.export.load(folder / PROGRAM).module()
    decoder = Decoder(source.card.transform)

    def answer(paths: Sequence[Path]) -> Sequence[np.ndarray]:
        images = [decoder.read(partial(open_picture, file_at(path)))[0] for path in paths]
        with torch.no_grad():
            return [each.numpy() for each in program(torch.from_numpy(np.stack(images)))]

    return source.require_same(answer, pictures)


def _onnx_int8(source: Source, folder: Path, pictures: Path) -> str:
    whole, store = pictures / ONNX, source.store
    if len(store.part("val")) == 0:
        raise MissedError("there are no validation pictures to compare it on")
    write_onnx(whole, source.program, source.card)
    _put_script(folder)
    int8.quantise(whole, folder / ONNX, store.part("train").images, INPUT)
    found = int8.compare(whole, folder / ONNX, store.part("val"), INPUT, source.answer.threshold)
    if found.refused:
        raise MissedError(found.refused)
    write_json(folder / COSTS, found.speed)
    return found.accuracy


WRITERS: dict[ExportFormat, Callable[[Source, Path, Path], str]] = {
    ExportFormat.onnx: _onnx,
    ExportFormat.torch_export: _torch_export,
    ExportFormat.onnx_int8: _onnx_int8,
}
