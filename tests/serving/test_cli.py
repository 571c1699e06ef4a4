"""`thawline predict`: labels for pictures, from the bundle that stage export made. `thawline --help`."""

import errno
import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TRANSFORM, toy_pictures, write_toy_recipe, write_toy_store
from PIL import Image

from thawline.artifacts import CARD, COSTS, HISTORY, MODEL, Artifacts, write_json, write_text
from thawline.config.sections import Config
from thawline.models.answer import save_answering
from thawline.models.answering import Answering, Unknown
from thawline.models.card import ModelCard, read_card
from thawline.models.checkpoint import load_model, save_model
from thawline.models.zoo import build
from thawline.serving.cli import main
from thawline.serving.export import best_seed, export


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    card = ModelCard("tests_networks.Small", {}, ("across", "down"), TRANSFORM, "random")
    folder = tmp_path / "export"
    save_model(folder / MODEL, folder / CARD, build("tests_networks.Small", 2, seed=0), card)
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index, image in enumerate(toy_pictures(2, 0)[0]):
        Image.fromarray(image).save(folder / f"{index}.png")
    return folder


def call(bundle: Path, *arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        main(["predict", "--model", str(bundle), *arguments])
    return ended.value.code


def test_json_has_label_and_probabilities_by_name(
    bundle: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(bundle, "--json", str(pictures)) == 0
    entries = json.loads(capsys.readouterr().out)
    assert [Path(entry["path"]).name for entry in entries] == ["0.png", "1.png", "2.png", "3.png"]
    for entry in entries:
        assert sum(entry["probabilities"].values()) == pytest.approx(1)
        assert entry["label"] == max(entry["probabilities"], key=entry["probabilities"].get)


def test_unknown_is_said_in_place_of_the_label_where_that_is_asked_for(
    bundle: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # of a training picture that none of these is like
    answering = Answering(unknown=Unknown(1, 1e-6, 0.01, 99, "x"))
    save_answering(bundle, read_card(bundle / CARD), answering, -torch.ones(1, 8) / 8**0.5)
    assert call(bundle, "--jsonl", str(pictures)) == 0
    beside = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {each["label"] for each in beside} <= {"across", "down"}
    assert call(bundle, "--jsonl", "--unknown", str(pictures)) == 0
    instead = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["unknown"] for each in beside + instead] == [True] * 8
    assert {each["label"] for each in instead} == {"unknown"}


def test_a_picture_named_twice_is_labelled_twice(
    bundle: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(pictures / name) for name in ("0.png", "0.png", "1.png")]
    assert call(bundle, "--json", *files) == 0
    twice = json.loads(capsys.readouterr().out)
    assert call(bundle, "--json", *files[1:]) == 0
    assert twice[1:] == json.loads(capsys.readouterr().out)
    assert twice[0] == twice[1]


def test_an_unreadable_picture_is_named_and_the_others_are_labelled(
    bundle: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "1.png").write_bytes(b"no picture")
    assert call(bundle, "--json", str(pictures)) == 1
    entries = json.loads(capsys.readouterr().out)
    assert "cannot be read as a picture" in entries[1]["error"]
    assert [("label" in entry) for entry in entries] == [True, False, True, True]


def test_what_is_odd_about_the_values_of_a_picture_stands_beside_it(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network, card = load_model(bundle / MODEL, bundle / CARD)
    ten_bits = replace(card, transform=replace(card.transform, range=(0, 1023)), weights={})
    save_model(bundle / MODEL, bundle / CARD, network, ten_bits)
    files = [tmp_path / name for name in ("10.png", "12.png", "6.png", "8.png")]
    for file, white in zip(files, (1023, 4095, 63, None), strict=True):
        levels = np.arange(256).reshape(16, 16)
        values = levels.astype(np.uint8) if white is None else (levels * white // 255).astype(np.uint16)
        Image.fromarray(values).save(file)
    assert call(bundle, *map(str, files)) == 0
    remarks = [line.split("\t")[3:] for line in capsys.readouterr().out.splitlines()]
    outside = "values outside 0 to 1023, black and white, are cut off"
    dark = "values fill little of 0 to 1023, black and white"
    assert remarks == [[], [outside], [dark], []]
    assert call(bundle, "--json", *map(str, files)) == 0
    entries = json.loads(capsys.readouterr().out)
    assert [entry.get("remark") for entry in entries] == [None, outside, dark, None]
    assert entries[0]["probabilities"] == entries[3]["probabilities"]


def test_what_is_not_there_is_named(bundle: Path, tmp_path: Path, pictures: Path) -> None:
    assert "nothing.png does not exist" in str(call(bundle, str(tmp_path / "nothing.png")))
    (tmp_path / "empty").mkdir()
    assert "holds no picture" in str(call(bundle, str(tmp_path / "empty")))
    assert "dvc repro" in str(call(tmp_path / "nowhere", str(pictures)))


@pytest.mark.parametrize("name", [CARD, MODEL])
def test_a_bundle_that_may_not_be_read_is_a_sentence(
    name: str, bundle: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = Path.open

    def refused(path: Path, *arguments: Any, **options: Any) -> Any:
        if path == bundle / name:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return really(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refused)
    assert call(bundle, str(pictures)) == f"error: {bundle / name} cannot be read: Permission denied."


def test_a_bundle_that_cannot_be_looked_at_or_has_a_folder_for_a_card_is_a_sentence(
    bundle: Path, pictures: Path
) -> None:
    (bundle / CARD).unlink()
    (bundle / CARD).mkdir()
    assert call(bundle, str(pictures)) == f"error: {bundle / CARD} cannot be read: Is a directory."
    said = str(call(bundle / ("a" * 300), str(pictures)))
    assert "cannot be looked at: this name is too long" in said


def test_a_fits_folder_in_place_of_its_bundle_is_told_where_the_bundle_is(
    bundle: Path, pictures: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "fits" / "leaves"
    shutil.copytree(bundle, kept / "model")
    assert call(kept, str(pictures)) == (
        f"error: there is no model in {kept}, but in the folder below it.\n"
        f"  thawline predict --model {shlex.quote(str(kept / 'model'))} PICTURES"
    )


def test_the_clones_model_is_found_from_anywhere(
    bundle: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "clone"
    shutil.copytree(bundle, root / "artifacts" / "export")
    monkeypatch.setattr("thawline.artifacts.pipeline_root", lambda: root)
    monkeypatch.chdir(tmp_path)
    # somebody else's
    (tmp_path / "artifacts").mkdir()
    with pytest.raises(SystemExit, match="0"):
        main(["predict", str(pictures)])


@pytest.mark.parametrize("command", [["predict"], ["predict", "x.jpg", "--model"], ["fit"]])
def test_an_empty_path_is_not_taken_for_this_folder(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*command, ""])
    assert "the path is empty\n  give a path; this folder is ." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("fit x --minuts 5", "thawline fit has no option --minuts; nearest: --minutes.\n"),
        ("predict --jsnl x.jpg", "thawline predict has no option --jsnl; nearest: --jsonl"),
        ("study show --storgae=x", "thawline study show has no option --storgae; nearest: --storage"),
        ("study show a b", "b is one argument too many.\n  what is asked for: thawline study show --help\n"),
        ("fit x -s seed=3", "thawline fit has no option -s; nearest: -S"),
        ("predict a.jpg --csv b.jpg", "b.jpg is apart from the other files.\n  options come before all"),
        ("serve --zzz", "thawline serve has no option --zzz.\n"),
        ("fit x seed=3", "seed=3 is a setting.\n  settings follow -S: -S seed=3\n"),
        ("fit x y", "y is one argument too many.\n  what is asked for: thawline fit --help\n"),
    ],
)
def test_what_is_not_understood_is_named_with_what_was_meant(
    command: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(command.split())
    assert capsys.readouterr().err.startswith(f"error: {said}")


@pytest.mark.parametrize("arguments", [["--help"], ["study", "--help"], ["study", "resume", "--help"]])
def test_help_waits_for_nothing_heavy(arguments: list[str]) -> None:
    heavy = ("torch", "optuna", "mlflow", "pandas", "omegaconf", "rich")
    code = (
        f"import sys\nfrom thawline.serving.cli import main\n"
        f"try: main({arguments})\nexcept SystemExit: print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def history(path: Path, rows: list[tuple[int, int, float, float]]) -> Path:
    lines = ["seed,epoch,train_loss,val_loss,val_accuracy,seconds"]
    lines += [f"{seed},{epoch},0.1,{loss},{accuracy},1.0" for seed, epoch, loss, accuracy in rows]
    write_text(path, "\n".join(lines) + "\n")
    return path


def kept(path: Path, *epochs: int) -> Path:
    """costs.json, where seed 0 kept the first of `epochs`, and so on."""
    write_json(path, {"seeds": {str(seed): {"epoch": epoch} for seed, epoch in enumerate(epochs)}})
    return path


def test_the_exported_seed_is_the_one_whose_kept_epoch_validated_best(tmp_path: Path) -> None:
    path = history(
        tmp_path / "h.csv", [(0, 0, 0.1, 0.9), (0, 1, 0.5, 0.6), (1, 0, 0.4, 0.5), (1, 1, 0.4, 0.8)]
    )
    costs = tmp_path / "costs.json"
    assert best_seed(path, kept(costs, 1, 1)) == (1, 0.8)
    assert best_seed(path, kept(costs, 0, 1)) == (0, 0.9)


def test_an_epoch_that_was_not_kept_does_not_choose_the_seed(tmp_path: Path) -> None:
    """With keep=best and wise_ft or a soup, what is kept is the average, behind all epochs."""
    path = history(
        tmp_path / "h.csv", [(0, 0, 0.1, 0.95), (0, 1, 0.2, 0.6), (1, 0, 0.4, 0.7), (1, 1, 0.3, 0.8)]
    )
    assert best_seed(path, kept(tmp_path / "costs.json", 1, 1)) == (1, 0.8)


def test_seeds_that_validate_alike_are_told_apart_by_their_loss(tmp_path: Path) -> None:
    path = history(tmp_path / "h.csv", [(0, 0, 0.4, 0.8), (1, 0, 0.3, 0.8), (2, 0, 0.3, 0.8)])
    assert best_seed(path, kept(tmp_path / "costs.json", 0, 0, 0)) == (1, 0.8)


def test_the_bundle_holds_that_seeds_weights(tmp_path: Path) -> None:
    artifacts = Artifacts.under(tmp_path)
    write_toy_store(artifacts.data_output("target"), {"train": 8, "val": 8})
    write_toy_recipe(artifacts)
    folder = artifacts.stage_output("finetune", "finetuned")
    card = ModelCard("tests_networks.Small", {}, ("across", "down"), TRANSFORM, "toy")
    for seed in (0, 1):
        network = build("tests_networks.Small", 2, seed=seed)
        save_model(folder / "weights" / f"seed_{seed}.safetensors", folder / CARD, network, card)
    history(folder / HISTORY, [(0, 0, 0.5, 0.5), (1, 0, 0.4, 0.7)])
    kept(folder / COSTS, 0, 0)
    export(Config(), artifacts)
    bundle = artifacts.stage("export")
    network, exported = load_model(bundle / MODEL, bundle / CARD)
    assert exported.notes == {"seed": 1, "validation_accuracy": 0.7}
    expected = build("tests_networks.Small", 2, seed=1).get_parameter("head.weight")
    assert network.get_parameter("head.weight").equal(expected)


def test_report_says_where_the_page_is_and_opens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) is None)
    monkeypatch.chdir(tmp_path)
    write_text(tmp_path / "dvc.yaml", "")
    page = tmp_path / "reports" / "index.html"
    assert reported() == f"error: {page} does not exist.\n  It is made by the pipeline; run: dvc repro"
    write_text(page, "")
    assert reported() == 0
    assert capsys.readouterr().out == f"{page}\n"
    assert opened == []
    assert reported("--open") == 0
    assert opened == [page.as_uri()]
    monkeypatch.setattr("webbrowser.open", lambda _: False)
    assert reported("--open") == 1


def reported(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        main(["report", *arguments])
    return ended.value.code
