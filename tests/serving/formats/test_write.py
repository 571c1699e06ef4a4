"""What is written beside the bundle answers as the bundle does, or is not written."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TRANSFORM, write_toy_store
from PIL import Image
from tests_deep_files import png16

from thawline.artifacts import CARD, MODEL, read_json
from thawline.config.errors import UserError
from thawline.config.sections import ExportFormat
from thawline.data.decoding import Decoder
from thawline.data.store import Store
from thawline.data.transform import Transform
from thawline.models.answer import save_answering
from thawline.models.answering import Answering, Unknown
from thawline.models.card import ModelCard, read_card
from thawline.models.checkpoint import build_random, save_model
from thawline.serving.formats import int8, parity, write
from thawline.serving.formats.int8 import Comparison
from thawline.serving.predict import Prediction, card_of, network_of, predict

CLASSES = ("across", "down")
GATED = [ExportFormat.onnx, ExportFormat.torch_export]


def make_bundle(folder: Path, seed: int = 1) -> Path:
    card = ModelCard("tests_networks.Small", {}, CLASSES, TRANSFORM, "toy")
    save_model(folder / MODEL, folder / CARD, build_random(card, seed=seed), card)
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_toy_store(tmp_path_factory.mktemp("store"), {"train": 10, "val": 4})


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, store: Store) -> Path:
    bundle = make_bundle(tmp_path_factory.mktemp("bundle"))
    write.write_formats(GATED, bundle, store)
    return bundle


def labelled(bundle: Path, files: list[Path]) -> list[Prediction]:
    return list(predict(lambda: network_of(bundle), card_of(bundle), files))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_format_says_how_near_it_is(exported: Path) -> None:
    outcomes = read_json(exported / write.OUTCOMES)
    assert list(outcomes) == ["onnx", "torch_export"]
    for said in outcomes.values():
        assert said.startswith("its probabilities differ from the bundle's by at most ")
        assert float(said.split()[-1]) <= parity.TOLERANCE
    assert {*files_of(exported)} == {
        *(CARD, MODEL, write.OUTCOMES),
        *("onnx/model.onnx", "onnx/predict.py", "torch_export/model.pt2"),
    }


@pytest.mark.slow
def test_the_same_is_written_again_byte_for_byte_and_holds_no_path_of_this_machine(
    exported: Path, store: Store
) -> None:
    before = files_of(exported)
    write.write_formats(GATED, exported, store)
    assert files_of(exported) == before
    own = (b"site-packages", os.fsencode(Path(write.__file__).parents[3]), os.fsencode(exported))
    assert not [name for name, content in before.items() if any(place in content for place in own)]


def test_what_is_not_asked_for_any_more_goes(tmp_path: Path, store: Store) -> None:
    bundle = make_bundle(tmp_path)
    for name in ("onnx", "torch_export", "onnx_int8"):
        (bundle / name).mkdir()
    (bundle / write.OUTCOMES).write_text("{}")
    write.write_formats([ExportFormat.bundle], bundle, store)
    assert {*files_of(bundle)} == {CARD, MODEL}


def test_the_onnx_model_names_its_labels_and_its_transform(exported: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(exported / "onnx" / "model.onnx")
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["labels"]) == list(CLASSES)
    assert Transform.from_dict(json.loads(about["transform"])) == TRANSFORM
    assert [(each.name, each.type) for each in session.get_inputs()] == [("pictures", "tensor(uint8)")]
    (shape,) = (each.shape for each in session.get_inputs())
    assert isinstance(shape[0], str)  # any number of pictures
    assert shape[1:] == [16, 16, 3]
    for pictures in (1, 5):
        probabilities, label, unknown = session.run(
            None, {"pictures": np.zeros((pictures, 16, 16, 3), np.uint8)}
        )
        assert probabilities.sum(1) == pytest.approx(np.ones(pictures), abs=1e-6)
        assert np.array_equal(probabilities.argmax(1), label)
        assert unknown.shape == (pictures,)


def test_the_program_names_its_labels_and_its_transform(exported: Path) -> None:
    about = {"labels.json": "", "transform.json": ""}
    torch.export.load(exported / "torch_export" / "model.pt2", extra_files=about)
    assert json.loads(about["labels.json"]) == list(CLASSES)
    assert Transform.from_dict(json.loads(about["transform.json"])) == TRANSFORM


def test_the_script_labels_pictures_as_the_bundle_does(exported: Path, tmp_path: Path) -> None:
    pictures = odd_pictures(tmp_path)
    command = [sys.executable, "-I", str(exported / "onnx" / "predict.py"), *map(str, pictures)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    ours = [
        (str(each.path), each.label, f"{each.probabilities[str(each.label)]:.4f}", "")
        for each in labelled(exported, pictures)
    ]
    assert [tuple(line.split("\t")) for line in lines] == ours


@pytest.mark.parametrize(("fit", "channels"), [("crop", 3), ("squash", 1), ("pad", 3)])
def test_the_script_reads_a_picture_as_the_transform_does(fit: str, channels: int, tmp_path: Path) -> None:
    transform = Transform(16, 20, channels, fit, "bicubic", (0.5,) * channels, (0.25,) * channels)
    read = script_s_read()
    for path in odd_pictures(tmp_path):
        expected = Decoder(transform).read(partial(Image.open, path))[0]
        assert np.array_equal(read(path, **transform.to_dict()), expected), path.name


def script_s_read() -> Callable[..., np.ndarray]:
    """The script's `read`, without what opens the model."""
    source = Path(write.__file__).with_name("predict_onnx.py").read_text()
    names: dict[str, Any] = {}
    exec(source.partition("session =")[0] + "def read(" + source.partition("def read(")[2], names)
    read: Callable[..., np.ndarray] = names["read"]
    return read


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_the_script_refuses_more_than_8_bits_in_colours_too(channels: int, tmp_path: Path) -> None:
    file = tmp_path / "deep.png"
    file.write_bytes(png16(np.full((4, 4, channels), 1000, np.uint16)))
    with pytest.raises(ValueError, match="has more than 8 bits"):
        script_s_read()(file, **TRANSFORM.to_dict())


def odd_pictures(folder: Path) -> list[Path]:
    """Write pictures of several modes and shapes; one is turned by its EXIF data, one is transparent."""
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    noise = Image.fromarray(random.integers(0, 256, (33, 21, 3), dtype=np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6
    noise.save(folder / "turned.png", exif=turned)
    noise.convert("L").resize((50, 20)).save(folder / "gray.png")
    noise.convert("P").save(folder / "palette.png")
    noise.convert("CMYK").save(folder / "inks.jpg", quality=95)
    noise.resize((5, 7)).save(folder / "small.bmp")
    clear = noise.convert("RGBA")
    clear.putalpha(Image.fromarray(random.integers(0, 256, (33, 21), dtype=np.uint8)))
    clear.save(folder / "clear.png")
    return sorted(folder.iterdir())


def test_an_export_that_answers_otherwise_is_not_written_and_says_by_how_much(
    exported: Path,
    tmp_path: Path,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bundle = make_bundle(tmp_path, seed=2)
    other = torch.export.load(exported / "torch_export" / "model.pt2")
    monkeypatch.setattr(write, "as_program", lambda *_: other)
    write.write_formats([ExportFormat.torch_export], bundle, store)
    assert not (bundle / "torch_export").exists()
    words = (
        r"its probabilities differ by up to \d\.\de-\d\d and .* \(allowed 1e-04\), and the label of \d+ of 14"
    )
    (said,) = read_json(bundle / write.OUTCOMES).values()
    assert re.search(f"^not written: {words}", said)
    assert "the model is not written as torch_export: its probabilities differ" in caplog.text


def decoded(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        picture.load()
    return picture


@pytest.fixture
def files(store: Store, tmp_path: Path) -> list[Path]:
    return parity.write_pictures(store, tmp_path)


@pytest.mark.parametrize(
    ("size", "output", "wrong"),
    [(parity.BATCHES[0], "probability", 1e-3), (parity.BATCHES[-1], "unknown", float("nan"))],
)
def test_the_gate_notices_what_is_wrong_in_batches_of_one_size_alone(
    exported: Path, files: list[Path], size: int, wrong: float, output: str
) -> None:
    ours = labelled(exported, files)
    said = {each.path: [*each.probabilities.values()] for each in ours}

    def answer(paths: Sequence[Path]) -> list[np.ndarray]:
        found = np.array([said[path] for path in paths])
        more = wrong if len(paths) == size else 0
        answers = {"probability": found, "labels": found.argmax(1), "unknown": np.zeros(len(paths))}
        return [*(answers | {output: answers[output] + more}).values()]

    right = parity.difference(ours, CLASSES, answer)
    assert getattr(right, output) >= 9e-4
    assert right.missed


def test_the_gate_asks_about_training_pictures_of_other_shapes(files: list[Path], store: Store) -> None:
    pictures = [decoded(path) for path in files]
    shapes = [picture.size for picture in pictures]
    assert shapes[0] == (16, 16)
    assert all(width != height for width, height in shapes[1:])
    assert np.array_equal(np.asarray(pictures[0]), store.part("train").images[0])


def test_a_missing_package_is_named(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(UserError, match=r"asks for onnx, but onnxscript is not .*\n.*thawline\[onnx\]"):
        write.write_formats(GATED, make_bundle(tmp_path), store)


FASTER = Comparison(0.0, (-0.02, 0.02), 50, (100.0, 150.0))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"per_second": (100.0, 105.0)}, "it gains nothing: it is not 1.1 times as fast"),
        ({"lost": 0.02}, "it loses too much: accuracy on 50 validation pictures -2.0 points"),
        ({"unknown": (0.01, 0.03)}, "float32 and it take 1.0% and 3.0% for unknown"),
        ({"lost": 0.009, "interval": (0.001, 0.017)}, r"it loses too much.*\(95 %: -1.7 to -0.1\)"),
    ],
)
def test_eight_bits_must_be_faster_and_no_worse(changes: dict[str, object], words: str | None) -> None:
    refused = dataclasses.replace(FASTER, **changes).refused  # type: ignore[arg-type]
    assert refused is None if words is None else re.search(words, str(refused))


def write_picture(store: Store, folder: Path) -> Path:
    Image.fromarray(store.images[0]).save(folder / "one.png")
    return folder / "one.png"


@pytest.mark.slow
def test_eight_bits_are_written_where_they_gain(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_bundle(tmp_path)
    # it knows unknown pictures, as every bundle of the pipeline
    unknown = Unknown(1, 0.5, 0.01, 8, "x")
    save_answering(bundle, read_card(bundle / CARD), Answering(unknown=unknown), torch.ones(2, 8) / 8**0.5)
    # how fast they are on so small a network is chance
    monkeypatch.setattr(int8, "GAIN", 0.0)
    monkeypatch.setattr(int8, "LOSS", 1.0)
    write.write_formats([ExportFormat.onnx_int8], bundle, store)
    (said,) = read_json(bundle / write.OUTCOMES).values()
    assert said.startswith("accuracy on 8 validation pictures ")
    assert read_json(bundle / "onnx_int8" / "costs.json").keys() == {"float32_per_second", "int8_per_second"}
    import onnxruntime

    session = onnxruntime.InferenceSession(bundle / "onnx_int8" / "model.onnx")
    assert session.get_modelmeta().custom_metadata_map.keys() >= {"labels", "transform", "unknown_above"}
    assert not [
        text for text in session.get_modelmeta().custom_metadata_map.values() if text.startswith("onnx")
    ]
    pictures = np.array(store.images[:4])
    together = session.run(None, {"pictures": pictures})[0]
    alone = [session.run(None, {"pictures": pictures[index : index + 1]})[0] for index in range(4)]
    assert np.array_equal(together, np.concatenate(alone))  # the neighbours do not matter
    picture = write_picture(store, tmp_path)
    script = [sys.executable, str(bundle / "onnx_int8" / "predict.py"), str(picture)]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    assert done.stdout.split()[1] in CLASSES


def test_eight_bits_need_validation_pictures(tmp_path: Path, toy_store: Store) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    everything = toy_store.divided(np.arange(len(toy_store)), np.arange(0))
    write.write_formats([ExportFormat.onnx_int8], bundle, everything)
    assert "no validation pictures" in read_json(bundle / write.OUTCOMES)["onnx_int8"]
    assert not (bundle / "onnx_int8").exists()


@pytest.mark.slow
def test_the_model_answers_where_there_is_nothing_but_onnxruntime_pillow_and_numpy(
    exported: Path, tmp_path: Path
) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    versions = [f"{name}=={version(name)}" for name in ("onnxruntime", "pillow", "numpy")]
    subprocess.run([sys.executable, "-m", "venv", str(python.parents[1])], check=True)
    pip = [str(python), "-I", "-m", "pip"]  # whatever PYTHONPATH says here
    subprocess.run([*pip, "install", "-q", *versions], check=True)
    pictures = odd_pictures(tmp_path / "pictures")
    command = [str(python), "-I", str(exported / "onnx" / "predict.py"), *map(str, pictures)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    ours = labelled(exported, pictures)
    assert [line.split("\t")[1] for line in said.splitlines()] == [each.label for each in ours]
    listed = subprocess.run([*pip, "list"], check=True, capture_output=True, text=True).stdout
    assert not {"torch", "thawline", "mlflow"} & {line.split()[0] for line in listed.splitlines()}
