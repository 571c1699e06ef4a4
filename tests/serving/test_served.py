"""What MLflow loads and serves says what `thawline predict` says."""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TRANSFORM, toy_pictures, write_toy_store
from PIL import Image
from tests_tracking import SECONDS, answers, forget_connections, free_port

from thawline import tracking
from thawline.artifacts import CARD, MODEL
from thawline.config.sections import Config, Export
from thawline.models.card import ModelCard
from thawline.models.checkpoint import build_random, save_model
from thawline.serving.formats import registered
from thawline.serving.output import entry
from thawline.serving.predict import card_of, network_of, predict
from thawline.serving.served import SERVER, Served
from thawline.tracking.connection import connected

CLASSES = ("across", "down")
NAME = "hot dogs"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout where two models were registered, the first twice, as where DVC was killed after it."""
    home = tmp_path_factory.mktemp("home")
    (home / "b" / "onnx").mkdir(parents=True)
    (home / "b" / "onnx" / "model.onnx").write_text("another format")
    for seed in (2, 2, 3):
        register(home, seed)
    return home


def register(home: Path, seed: int) -> None:
    """Register a model that says which `seed` made it, as the stage `export` does in the checkout `home`."""
    store = write_toy_store(home / "store", {"train": 4, "val": 2})
    card = ModelCard("tests_networks.Small", {}, CLASSES, TRANSFORM, "toy", notes={"seed": seed})
    card = save_model(home / "b" / MODEL, home / "b" / CARD, build_random(card, seed=1), card)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DVC_ROOT", raising=False)
        registered.register(Config(export=Export(registered_model=NAME)), home / "b", card, store, home)


@pytest.fixture
def finds_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes that are started find the toy network's class, as they must anybody's."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    for index, image in enumerate(toy_pictures(2, 0)[0]):
        Image.fromarray(image).resize((30, 20 + index)).save(tmp_path / f"{index}.png")
    return sorted(tmp_path.iterdir())


def ours(home: Path, files: list[Path]) -> list[dict[str, object]]:
    """Return what `thawline predict --json` prints, but for the path."""
    entries = [entry(each) for each in predict(lambda: network_of(home / "b"), card_of(home / "b"), files)]
    return [{key: value for key, value in each.items() if key != "path"} for each in entries]


def in_base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def same(found: list[Any], expected: list[Any]) -> bool:
    """Return whether answers are the same, but for the order in which a batch is computed."""
    labels = [each["label"] for each in found] == [each["label"] for each in expected]
    values = [[list(each["probabilities"].values()) for each in entries] for entries in (found, expected)]
    return labels and np.allclose(*values, atol=1e-6)


def test_paths_and_base64_are_answered_as_predict_does_however_often(home: Path, pictures) -> None:
    model, expected = Served(home / "b"), ours(home, pictures)
    for _ in range(2):
        assert model.predict([str(path) for path in pictures]) == expected
        assert model.predict([in_base64(path) for path in pictures]) == expected
        in_lines = [base64.encodebytes(path.read_bytes()).decode() for path in pictures]
        assert model.predict(in_lines) == expected


def test_what_is_neither_a_file_nor_base64_gets_an_error(home: Path, tmp_path: Path, pictures) -> None:
    texts = [
        "",
        str(tmp_path),
        str(tmp_path / "absent.png"),
        "a" * 300,
        "a" * 5000,
        "größe.jpg",
        "nul\0",
        in_base64(pictures[0]),
    ]
    *broken, whole = Served(home / "b").predict(texts)
    assert all(each.keys() == {"error"} for each in broken)
    for each in broken[1:3]:
        assert each["error"].endswith("this is not base64, and there is no file of this name")
    assert whole == ours(home, pictures[:1])[0]


def test_a_server_opens_no_files_for_those_who_ask_it(
    home: Path, pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SERVER, "true")
    path, content = Served(home / "b").predict([str(pictures[0]), in_base64(pictures[0])])
    assert path == {"error": "cannot be read as a picture: this is not base64, and a server opens no files"}
    assert content == ours(home, pictures[:1])[0]


def test_the_same_model_is_one_version_and_one_run_however_often_it_is_registered(home: Path) -> None:  # noqa: ARG001
    client = connected().client
    assert client is not None
    versions = client.search_model_versions(f"name = '{NAME}'")
    assert sorted(str(each.version) for each in versions) == ["1", "2"]
    runs = client.search_runs([connected().experiment_id])
    assert {each.run_id for each in versions} == {run.info.run_id for run in runs}
    assert sorted(run.data.tags["seed"] for run in runs) == ["2", "3"]


def test_the_registered_model_says_what_it_is(home: Path) -> None:
    client = connected().client
    assert client is not None
    second = client.get_model_version(NAME, "2")
    run = client.get_run(second.run_id)
    assert run.data.tags["registered_model"] == f"{NAME} 2"
    assert run.info.status == "FINISHED"
    named = {(each.dataset.name, each.tags[0].value): each.dataset for each in run.inputs.dataset_inputs}
    assert named.keys() == {("digits", "training"), ("digits", "validation")}
    assert json.loads(named["digits", "training"].profile) == {"classes": 2, "pictures": 8}
    folder = home / "mlartifacts" / "models" / second.source.removeprefix("models:/") / "artifacts"
    assert sorted(path.name for path in (folder / "data" / "bundle").iterdir()) == [CARD, MODEL]
    pinned = (folder / "requirements.txt").read_text().split()
    assert pinned == [f"{name}=={version(name)}" for name in (*registered.PACKAGES, "mlflow")]


def test_a_version_whose_files_are_gone_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    register(tmp_path, seed=2)
    shutil.rmtree(tmp_path / "mlartifacts" / "models")
    register(tmp_path, seed=2)
    client = connected().client
    assert client is not None
    newest = client.get_model_version_by_alias(NAME, "latest")
    assert str(newest.version) == "2"
    assert client.list_logged_model_artifacts(newest.source.removeprefix("models:/"))


def test_a_moved_checkout_finds_its_models(home: Path, tmp_path: Path) -> None:
    forget_connections()
    for name in ("mlflow.db", "mlartifacts"):
        copy = shutil.copytree if (home / name).is_dir() else shutil.copyfile
        copy(home / name, tmp_path / name)
    tracking.connect("sqlite:///mlflow.db", "thawline", tmp_path)
    client = connected().client
    assert client is not None
    for each in client.search_model_versions(f"name = '{NAME}'"):
        place = Path(client.get_model_version_download_uri(NAME, each.version).removeprefix("file://"))
        assert place.is_relative_to(tmp_path / "mlartifacts")
        assert (place / "MLmodel").exists()
        logged = client.get_logged_model(each.source.removeprefix("models:/"))
        assert logged.artifact_location == place.as_uri()


@pytest.mark.slow
def test_mlflow_loads_it_from_the_registry(home: Path, pictures, tmp_path: Path, finds_networks) -> None:
    code = f"""
import json, mlflow, sys
mlflow.set_tracking_uri("sqlite:///{home}/mlflow.db")
model = mlflow.pyfunc.load_model("models:/{NAME}/latest")
print(json.dumps([model.predict(sys.argv[1:]) for _ in range(2)]))
"""
    command = [sys.executable, "-c", code, *map(str, pictures[:2]), in_base64(pictures[2])]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)
    once, again = json.loads(done.stdout.splitlines()[-1])
    assert once == again
    assert same(once, ours(home, pictures[:3]))


@pytest.mark.slow
def test_mlflows_server_answers_as_predict_does(home: Path, pictures, tmp_path: Path, finds_networks) -> None:
    port = free_port()
    code = f"""
from pathlib import Path
from thawline import tracking
tracking.serve("sqlite:///mlflow.db", Path({str(home)!r}), {NAME!r}, "127.0.0.1", {port}, "")
"""
    with (tmp_path / "log").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=output, stderr=output, start_new_session=True
        )
    try:
        address, end = f"http://127.0.0.1:{port}", time.monotonic() + SECONDS
        while not answers(f"{address}/health"):
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < end, (tmp_path / "log").read_text()
            time.sleep(0.25)
        texts = [in_base64(path) for path in pictures[:3]]
        asked = urllib.request.Request(
            f"{address}/invocations",
            json.dumps({"inputs": texts}).encode(),
            {"Content-Type": "application/json"},
        )
        for _ in range(2):
            with urllib.request.urlopen(asked, timeout=60) as answer:
                found = json.load(answer)["predictions"]
            assert same(found, ours(home, pictures[:3]))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)
