"""What is a picture, and how it is read, is in serving what it is in training."""

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TRANSFORM, toy_pictures
from PIL import Image

from thawline.config.sections import DataSet, DataSetName
from thawline.data.batches import normalised
from thawline.data.decoding import Decoder
from thawline.data.scan import scan
from thawline.data.sets import image_folder
from thawline.models.answer import Answer, as_rows
from thawline.models.answering import Answering, Unknown
from thawline.models.card import ModelCard
from thawline.models.checkpoint import build_random, save_model
from thawline.models.zoo import build
from thawline.serving.output import csv_cells, csv_header, entry, line
from thawline.serving.predict import Prediction, network_of, picture_files, predict

CARD = ModelCard("tests_networks.Small", {}, ("across", "down"), TRANSFORM, "random")


def labelled(files: list[Path]) -> list[Prediction]:
    return list(predict(lambda: Answer(build("tests_networks.Small", 2, seed=0)), CARD, files))


def test_kernels_are_laid_out_once_and_not_for_every_batch(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = replace(CARD, architecture="mobilenet_v3_small")
    save_model(tmp_path / "m" / "model.safetensors", tmp_path / "m" / "card.json", build_random(card), card)
    answer = network_of(tmp_path / "m")
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in answer.modules()), "not folded"
    monkeypatch.setattr("thawline.models.layout.lay_out", None)
    found = list(predict(lambda: answer, card, [folder / "leaf" / "a.jpg"] * 3, batch=1))
    assert [each.error for each in found] == [None] * 3


def picture(number: int = 0) -> Image.Image:
    return Image.fromarray(toy_pictures(2, 0)[0][number]).resize((48, 40))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of two classes such as people have, with what lies about in the first."""
    inside = tmp_path / "set" / "leaf"
    inside.mkdir(parents=True)
    picture().save(inside / "a.jpg")
    picture().save(inside / "b.jfif", "JPEG")
    picture().save(inside / "c", "PNG")
    picture().save(inside / "d.avif")
    picture().save(inside / "e.jpg", "AVIF")
    (inside / "f.jpg").write_bytes(b"no picture")
    (inside / "._a.jpg").write_bytes(b"\0\5\x16\7" + bytes(90))
    (inside / "notes.txt").write_text("x")
    for hidden in (".Trash", ".ipynb_checkpoints", "__MACOSX"):
        (inside / hidden).mkdir()
        picture(1).save(inside / hidden / "a.jpg")
    (inside / "scan.jpg").mkdir()
    picture(1).save(inside / "scan.jpg" / "page.png")
    (tmp_path / "elsewhere").mkdir()
    picture(1).save(tmp_path / "elsewhere" / "x.png")
    (inside / "more").symlink_to(tmp_path / "elsewhere")
    (inside / "circle").symlink_to(inside)
    (inside / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "set" / "moss").mkdir()
    picture(1).save(tmp_path / "set" / "moss" / "m.png")
    return tmp_path / "set"


def test_training_and_serving_find_the_same_pictures(folder: Path) -> None:
    names = [
        "a.jpg",
        "b.jfif",
        "c",
        "d.avif",
        "e.jpg",
        "f.jpg",
        "gone.png",
        "more/x.png",
        "scan.jpg/page.png",
    ]
    data = DataSet(dataset=DataSetName.image_folder, root=str(folder))
    trained_on = [item.path for item in image_folder.collect(data, 0).items]
    assert trained_on == [*(f"leaf/{name}" for name in names), "moss/m.png"]
    assert picture_files([folder]) == [folder / name for name in trained_on]


def test_training_and_serving_read_them_alike(folder: Path, tmp_path: Path) -> None:
    data = DataSet(dataset=DataSetName.image_folder, root=str(folder))
    scanned = scan(image_folder.collect(data, 0), TRANSFORM, tmp_path)
    answers = labelled(picture_files([folder]))
    refused = {each.path.relative_to(folder).as_posix(): each.error for each in answers if each.error}
    assert refused == {each.path: f"cannot be read as a picture: {each.detail}" for each in scanned.dropped}
    assert sorted(refused) == ["leaf/f.jpg", "leaf/gone.png"]
    read = [folder / path for path in scanned.pictures["path"]]
    assert [each.path for each in answers if each.label] == read
    assert scanned.images.shape[0] == 8


def test_a_named_file_is_read_whatever_its_name(tmp_path: Path) -> None:
    picture().save(tmp_path / ".hidden.dat", "PNG")
    picture().save(tmp_path / "x.png")
    hidden, plain = labelled(picture_files([tmp_path / ".hidden.dat", tmp_path / "x.png"]))
    assert hidden.probabilities == plain.probabilities


def test_a_file_that_cannot_be_looked_at_is_said_and_the_others_are_labelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture().save(tmp_path / "x.png")
    closed = tmp_path / "closed" / "y.png"
    monkeypatch.setattr(Path, "stat", refusing(Path.stat, closed))
    monkeypatch.setattr(Path, "open", refusing(Path.open, closed))
    files = picture_files([tmp_path / ("a" * 300), closed, tmp_path / "x.png"])
    long, forbidden, labelled_one = labelled(files)
    assert "the file does not exist: its name is too long" in str(long.error)
    assert "the file may not be read (permissions)" in str(forbidden.error)
    assert labelled_one.label


def test_files_in_a_folder_that_may_be_listed_but_not_entered_are_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("stat", "open"):
        monkeypatch.setattr(Path, name, refusing(getattr(Path, name), folder / "moss" / "m.png"))
    *_, found = labelled(picture_files([folder]))
    assert "the file may not be read (permissions)" in str(found.error)


def test_a_pipe_given_by_name_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    picture().save(tmp_path / "x.png")
    refused, read = labelled(picture_files([tmp_path / "pipe.png", tmp_path / "x.png"]))
    assert refused.error == "cannot be read as a picture: no plain file (a pipe, a socket or a device)"
    assert read.label


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="the shell then makes a pipe with a name")
def test_what_the_shell_opened_is_read(tmp_path: Path) -> None:
    picture().save(tmp_path / "x.png")
    reads, writes = os.pipe()
    try:
        os.write(writes, (tmp_path / "x.png").read_bytes())
        os.close(writes)
        through, plain = labelled(picture_files([Path(f"/dev/fd/{reads}"), tmp_path / "x.png"]))
    finally:
        os.close(reads)
    assert through.probabilities == plain.probabilities


def test_files_in_a_folder_that_are_no_pictures_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    picture().save(tmp_path / "x.png")
    for name in ("a.jp2", "b.JP2", "c.pdf", "d.svg"):
        (tmp_path / name).write_text("x")
    assert picture_files([tmp_path]) == [tmp_path / "x.png"]
    counts = "files that are not pictures, passed over: 2 with .jp2, 1 with .pdf, 1 with .svg"
    assert caplog.messages == [f"{tmp_path}: {counts}"]


def refusing(call: Callable[..., Any], closed: Path) -> Callable[..., Any]:
    """Return `call`, a method of paths, as it is where the system does not let one see `closed`."""

    def refused(path: Path, *arguments: object, **options: object) -> Any:
        if path == closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return call(path, *arguments, **options)

    return refused


# Memory


def test_the_network_is_loaded_when_the_first_pictures_are_decoded(folder: Path) -> None:
    def never() -> None:
        raise AssertionError

    (found,) = predict(never, CARD, [folder / "leaf" / "f.jpg"])  # type: ignore[arg-type]
    assert found.error
    code = "import sys, thawline.serving.predict; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


PREDICT = """
import sys
from pathlib import Path
from thawline.serving.cli import main
try:
    main(["predict", "--model", *sys.argv[1:]])
except SystemExit as end:
    assert not end.code, end.code
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured through /proc")
def test_the_largest_pictures_are_labelled_within_1_gib(tmp_path: Path) -> None:
    largest = Image.new("RGB", (16000, 12500), (200, 30, 30))
    largest.save(tmp_path / "a.png", compress_level=1)
    largest.save(tmp_path / "b.tif", compression="tiff_lzw")
    network = build("resnet18", 2, 3, seed=0)
    save_model(
        tmp_path / "model" / "model.safetensors",
        tmp_path / "model" / "card.json",
        network,
        ModelCard("resnet18", {}, ("across", "down"), TRANSFORM, "random"),
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            PREDICT,
            *map(str, (tmp_path / "model", tmp_path / "a.png", tmp_path / "b.tif")),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    *lines, peak = done.stdout.splitlines()
    assert len(lines) == 2
    assert all("across" in line for line in lines)
    assert int(peak) < 2**20, "KiB"


def test_answers_come_in_the_order_of_the_files_and_do_not_depend_on_the_batch(
    tmp_path: Path,
) -> None:
    images, _ = toy_pictures(4, 0)
    for index, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{index:02d}.png")
    (tmp_path / "05.png").write_bytes(b"no picture")
    files = picture_files([tmp_path])
    network = Answer(build("tests_networks.Small", 2, seed=0))
    found = list(predict(lambda: network, CARD, files, 3))
    assert [each.path for each in found] == files
    assert [each.path.name for each in found if each.error] == ["05.png"]
    alone = [next(predict(lambda: network, CARD, [path])) for path in files]
    for one, other in zip(found, alone, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)


def test_who_asks_for_the_first_answer_alone_leaves_no_thread(tmp_path: Path) -> None:
    Image.fromarray(toy_pictures(1, 0)[0][0]).save(tmp_path / "one.png")
    network = Answer(build("tests_networks.Small", 2, seed=0))
    before = threading.active_count()
    answers = predict(lambda: network, CARD, [tmp_path / "one.png"] * 20, 2)
    next(answers)
    answers.close()
    assert threading.active_count() == before


def test_pictures_unlike_the_training_ones_are_unknown_beside_their_label(tmp_path: Path) -> None:
    files = [tmp_path / f"{index}.png" for index in range(3)]
    for index, path in enumerate(files):
        picture(index).save(path)
    network = build("tests_networks.Small", 2, seed=0)
    decoder = Decoder(TRANSFORM)
    shown = [decoder.read(partial(Image.open, path))[0] for path in files[:2]]
    images = torch.from_numpy(np.stack(shown))
    pictures = normalised(images.permute(0, 3, 1, 2).float(), TRANSFORM)
    rows = as_rows(Answer(network).prefix(pictures)).detach()
    answer = Answer(network, Answering(unknown=Unknown(1, 1e-5, 0.01, 99, "x")), rows)
    found = list(predict(lambda: answer, CARD, files))
    assert [each.unknown for each in found] == [False, False, True]
    assert all(each.label in CARD.classes for each in found)
    assert line(found[2]).split("\t")[-1] == "unknown"
    assert "unknown" not in line(found[0])
    assert entry(found[2])["unknown"] is True
    told = dict(zip(csv_header(CARD.classes), csv_cells(found[2], CARD.classes), strict=True))
    assert told["unknown"] == "true"


def test_the_label_is_the_decision_and_the_likeliest_class_is_there_too(tmp_path: Path) -> None:
    picture().save(tmp_path / "x.png")
    network = build("tests_networks.Small", 2, seed=0)
    (plain,) = predict(lambda: Answer(network), CARD, [tmp_path / "x.png"])
    assert plain.label is not None
    other = 1 - CARD.classes.index(plain.label)
    # to miss the other class is ruinous
    costs = tuple(tuple(1e6 * (truth == other != decision) for decision in (0, 1)) for truth in (0, 1))
    (found,) = predict(lambda: Answer(network, Answering(costs=costs)), CARD, [tmp_path / "x.png"])
    assert (found.label, found.likeliest) == (CARD.classes[other], plain.label)
    assert found.probabilities == pytest.approx(plain.probabilities)
    assert entry(found)["likeliest"] == plain.label
