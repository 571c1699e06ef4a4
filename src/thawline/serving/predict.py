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

from thawline.artifacts import CARD
from thawline.config.errors import UserError
from thawline.config.overrides import shell_line
from thawline.config.paths import require_accessible, why_inaccessible
from thawline.data.content import file_at
from thawline.data.decoding import Decoder
from thawline.data.files import open_files
from thawline.data.picture_files import EXTENSIONS, UnreadablePictureError, open_picture, pictures_in
from thawline.data.transform import UnusablePictureError
from thawline.data.unread import passed_over
from thawline.machine import cores, keep_freed_memory
from thawline.models.card import ModelCard, read_card

if TYPE_CHECKING:
    from thawline.models.answer import Answer

log = logging.getLogger(__name__)

BATCH = 8
"""Pictures that the network is asked about at once: with 32, EfficientNet-Lite0 at 224 px took 1.2 GB and not
0.8, of which torch itself takes 0.65, and a tenth more time of the processor."""


@dataclass(frozen=True)
class Prediction:
    """The answer for one file, or why it could not be read.

    `label` is the decision: the likeliest class, or where mistakes have costs the one of least expected cost,
    and then `likeliest` is there too. `probabilities` are every class's. `distance` is how far the picture is
    from the training pictures (0..2), and `unknown` whether that is too far to be answered; None where the
    bundle cannot tell. `remark` says what is odd about the values of a picture of more than 8 bits.
    """

    path: Path
    label: str | None
    probabilities: dict[str, float]
    error: str | None = None
    remark: str | None = None
    likeliest: str | None = None
    unknown: bool | None = None
    distance: float | None = None


def card_of(folder: Path) -> ModelCard:
    """Return the card of the model in a bundle made by stage export. Raises `UserError` if there is none."""
    require_accessible(folder / CARD)
    if not (folder / CARD).exists():
        if (folder / "model" / CARD).exists():
            raise UserError(
                f"there is no model in {folder}, but in the folder below it.\n"
                f"  {shell_line(['thawline', 'predict', '--model', str(folder / 'model')])} PICTURES"
            )
        raise UserError(
            f"there is no model in {folder}.\n"
            "  make one: thawline fit FOLDER\n"
            "  or reproduce the one of params.yaml: dvc repro\n"
            "  or name another bundle: thawline predict --model FOLDER PICTURES"
        )
    return read_card(folder / CARD)


def network_of(folder: Path) -> "Answer":
    """Return what answers in a bundle made by stage export."""
    from thawline.models.answer import load_answer
    from thawline.models.layout import lay_out, layout_of

    keep_freed_memory()
    answer, _ = load_answer(folder)
    answer.fold()
    lay_out(answer, layout_of(answer))  # once, not for every batch
    return answer


def has_bundle(artifacts: Path) -> bool:
    """Tell whether a folder holds a pipeline's bundle, final or first: others have folders of that name."""
    return any((artifacts / folder / CARD).exists() for folder in ("export", "plan/model"))


def bundle_in(artifacts: Path) -> Path:
    """Return the bundle to use: the final one, or the plan's first model where that is of other pictures or
    does not exist yet, which is logged."""
    final, first = artifacts / "export", artifacts / "plan" / "model"
    for folder in (final, first):
        require_accessible(folder / CARD)
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
        if why_inaccessible(path) is not None:
            found.append(path)  # reading it says why, and the others are labelled
        elif path.is_dir():
            files = open_files(path)
            for each in files.refused:
                log.warning("%s: %s", path / each.path, each.reason)
            pictures = pictures_in(files)
            if others := sorted(files.read.keys() - set(pictures)):
                log.warning("%s: %s", path, passed_over(others))
            # by the path, not the name: that is in one Unicode form and may not be the file's own
            inside = [file for name in pictures if (file := files.read[name].path)]
            if not inside:
                raise UserError(f"{path} holds no picture.\n  looked for: {', '.join(EXTENSIONS)}")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise UserError(f"{path} does not exist.")
    return found


def predict(
    open_it: Callable[[], "Answer"], card: ModelCard, files: list[Path], batch: int = BATCH
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
            rows = _answers(network(), np.stack(images), card) if images else iter(())
            for path, content in zip(files[start : start + batch], contents, strict=True):
                if isinstance(content, str):
                    yield Prediction(path, None, {}, content)
                else:
                    yield replace(next(rows), path=path, remark=content[1])
    finally:
        readers.shutdown(cancel_futures=True)


def _answers(answer: "Answer", images: np.ndarray, card: ModelCard) -> Iterator[Prediction]:
    """Yield what is answered about each of `images` (N, size, size, channels), without its path."""
    from thawline.data.batches import Batches
    from thawline.models.inference import answers

    nothing = np.zeros(len(images), np.int64)
    batches = Batches(images, nothing, card.transform, len(images), shuffle=False)
    found = answers(answer, batches)
    for row, decision, distance in zip(found.probabilities, found.decisions, found.scores, strict=True):
        named = {name: float(value) for name, value in zip(card.classes, row, strict=True)}
        prediction = Prediction(Path(), card.classes[decision], named)
        if answer.answering.costs is not None:
            prediction = replace(prediction, likeliest=card.classes[int(row.argmax())])
        if answer.threshold is not None:
            unknown = bool(distance > answer.threshold)
            prediction = replace(prediction, unknown=unknown, distance=float(distance))
        yield prediction


def _read(path: Path, decoder: Decoder) -> tuple[np.ndarray, str | None] | str:
    if _waits(path):
        return "cannot be read as a picture: no plain file (a pipe, a socket or a device)"
    try:
        return decoder.read(lambda: open_picture(file_at(path)))
    except (UnreadablePictureError, UnusablePictureError) as error:
        return f"cannot be read as a picture: {error}"


def _waits(path: Path) -> bool:
    """Tell whether opening what lies at `path` may wait for ever or never end: a pipe, a socket or a device,
    but not what the shell opened for us (`<(cat x.png)`, /dev/stdin)."""
    if why_inaccessible(path) is not None or path.is_file() or not path.exists():
        return False
    return (
        not path.is_relative_to("/dev/fd") and not path.is_relative_to("/proc") and path != Path("/dev/stdin")
    )
