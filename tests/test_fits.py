"""What a fit leaves for people, and what the next one does with it."""

from pathlib import Path

import pytest

from thawline.artifacts import Artifacts
from thawline.config.composition import LOCK
from thawline.fits import folder_of, keep


def test_a_fit_is_kept_under_the_name_of_its_folder_and_replaced_by_the_next_on_the_same_pictures(
    tmp_path: Path,
) -> None:
    def kept(named: str, pictures: str) -> str:
        folder = folder_of(tmp_path, named, pictures)
        folder.mkdir(exist_ok=True)
        (folder / "params.yaml").write_text(f"target:\n  root: {pictures}\n")
        return folder.name

    assert kept("leaves.zip", "/a/leaves.zip") == "leaves"
    assert kept("leaves", "/b/leaves") == "leaves-2"
    # given another root among the settings
    assert [kept("set", "/b/set/images"), kept("set", "/b/set/images")] == ["set", "set"]
    assert kept("leaves", "/a/leaves.zip") == "leaves"


def test_what_somebody_put_beside_a_kept_fit_stays_when_it_is_fitted_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifacts = Artifacts.under(tmp_path)
    (tmp_path / LOCK).write_text("target:\n  root: /a/leaves\n")
    for folder, name in ((artifacts.stage_output("export"), "card.json"), (artifacts.reports, "labels.csv")):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("first")
    kept = keep(artifacts, Path("/a/leaves"))
    assert capsys.readouterr().out == ""
    (kept / "notes.txt").write_text("mine")
    (kept / "report" / "corrected.csv").write_text("mine")
    (artifacts.stage("export") / "card.json").write_text("second")
    assert keep(artifacts, Path("/a/leaves")) == kept
    assert capsys.readouterr().out == "\nreplaces the earlier fit in fits/leaves\n"
    assert (kept / "model" / "card.json").read_text() == "second"
    assert (kept / "notes.txt").read_text() == (kept / "report" / "corrected.csv").read_text() == "mine"
    assert not list(kept.glob("*.partial"))
