"""Labels for picture files, with the transforms the model was trained with.

torch is loaded when the first pictures are decoded: its 500 MiB and the 800 MB of a picture of 200 megapixels
would be more than 1 GiB together.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from thawline.artifacts import CARD, MODEL
from thawline.config.errors import UserError
from thawline.data.content import file_at
from thawline.data.decoding import Decoder
from thawline.data.files import open_files
from thawline.data.picture_files import EXTENSIONS, UnreadablePictureError, open_picture, pictures_in
from thawline.data.transform import Transform, UnusablePictureError
from thawline.machine import cores, keep_freed_memory
from thawline.models.card import ModelCard, read_card

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)

BATCH = 32
"""Pictures that the network is asked about at once; more take memory and no less time."""


@dataclass(frozen=True)
class Prediction:
    """The answer for one file: label and the probability of every class, or why it could
    not be read. `remark` says what is odd about the values of a picture of more than 8 bits."""

    path: Path
    label: str | None
    probabilities: dict[str, float]
    error: str | None = None
    remark: str | None = None


def card_of(folder: Path) -> ModelCard:
    """Return the card of the model in a bundle made by stage export. Raises `UserError` if there is none."""
    if not (folder / CARD).exists():
        raise UserError(
            f"there is no model in {folder}.\n"
            "  make one: dvc repro; or name another bundle: thawline predict --model FOLDER PICTURES"
        )
    return read_card(folder / CARD)


def network_of(folder: Path) -> "nn.Module":
    """Return the network of a bundle made by stage export."""
    from thawline.models.checkpoint import load_model

    keep_freed_memory()
    return load_model(folder / MODEL, folder / CARD)[0]


def bundle_in(artifacts: Path) -> Path:
    """Return the bundle to use: the final one, or the plan's first model where that is of other pictures or
    does not exist yet, which is logged."""
    final, first = artifacts / "export", artifacts / "plan" / "model"
    if not (first / CARD).exists():
        return final
    if (final / CARD).exists():
        pictures = [read_card(folder / CARD).notes.get("pictures") for folder in (final, first)]
        if pictures[0] == pictures[1]:
            return final
    log.warning("the final model is not there yet: this is the first one, a solved head (%s)", first)
    return first


def picture_files(paths: Iterable[Path]) -> list[Path]:
    """Return the given files, and all pictures below the given folders in sorted order.

    What is a picture there, and which folders and links are entered, is what it is in training.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            files = open_files(path)
            for each in files.refused:
                log.warning("%s: %s", path / each.path, each.reason)
            # by the path, not the name: that is in one Unicode form and may not be the file's own
            inside = [file for name in pictures_in(files) if (file := files.read[name].path)]
            if not inside:
                raise UserError(f"{path} holds no picture.\n  looked for: {', '.join(EXTENSIONS)}")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise UserError(f"{path} does not exist.")
    return found


def predict(
    open_it: Callable[[], "nn.Module"], card: ModelCard, files: list[Path], batch: int = BATCH
) -> Iterator[Prediction]:
    """Yield one prediction per file, in order; unreadable files get their `error`.

    The network is asked about `batch` files at once, while other threads read the next ones: two batches are
    in memory at a time, however many files there are.

    open_it: gives the network, and is called once, when the first pictures are decoded.
    """
    decoder, network = Decoder(card.transform), cache(open_it)
    readers = ThreadPoolExecutor(cores())
    try:
        coming = [readers.submit(_read, path, decoder) for path in files[:batch]]
        for start in range(0, len(files), batch):
            contents = [each.result() for each in coming]
            coming = [readers.submit(_read, path, decoder) for path in files[start + batch :][:batch]]
            images = [content[0] for content in contents if not isinstance(content, str)]
            rows = iter(_probabilities(network(), np.stack(images), card.transform) if images else [])
            for path, content in zip(files[start : start + batch], contents, strict=True):
                if isinstance(content, str):
                    yield Prediction(path, None, {}, content)
                else:
                    yield replace(_labelled(path, next(rows), card.classes), remark=content[1])
    finally:
        readers.shutdown(cancel_futures=True)


def _probabilities(network: "nn.Module", images: np.ndarray, transform: Transform) -> np.ndarray:
    from thawline.data.batches import Batches
    from thawline.models.inference import probabilities

    unknown = np.zeros(len(images), np.int64)
    return probabilities(network, Batches(images, unknown, transform, len(images), shuffle=False), "cpu")


def _labelled(path: Path, row: np.ndarray, classes: tuple[str, ...]) -> Prediction:
    named = {name: float(value) for name, value in zip(classes, row, strict=True)}
    return Prediction(path, classes[int(row.argmax())], named)


def _read(path: Path, decoder: Decoder) -> tuple[np.ndarray, str | None] | str:
    try:
        return decoder.read(lambda: open_picture(file_at(path)))
    except (UnreadablePictureError, UnusablePictureError) as error:
        return f"cannot be read as a picture: {error}"
