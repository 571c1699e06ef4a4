"""What `thawline` writes: a line a picture whatever its name, JSON lines, no word where nobody reads."""

import base64
import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from conftest import TRANSFORM, toy_pictures
from PIL import Image

from thawline.artifacts import CARD, MODEL
from thawline.models.card import ModelCard
from thawline.models.checkpoint import save_model
from thawline.models.zoo import build
from thawline.serving.cli import main
from thawline.serving.output import entry, row
from thawline.serving.predict import Prediction

TESTS = Path(__file__).resolve().parents[1]
NAMES = {
    b"caf\xe9.jpg": r"caf\xe9.jpg",
    b"\xff\xfe.jpg": r"\xff\xfe.jpg",
    b"new\nline.jpg": r"new\nline.jpg",
    b"tab\there.jpg": r"tab\there.jpg",
    b"cr\rlf.jpg": r"cr\rlf.jpg",
    b"red\x1b[31m.jpg": r"red\x1b[31m.jpg",
    b"back\\slash.jpg": r"back\\slash.jpg",
    "тест ß 图 🐈.jpg".encode(): "тест ß 图 🐈.jpg",
    "next\u0085\u2028line.jpg".encode(): r"next\x85\u2028line.jpg",
}
"""Names of files, and how the table shows them."""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    card = ModelCard("tests_networks.Small", {}, ("new\nline", "a\tb"), TRANSFORM, "random")
    folder = tmp_path / "export"
    save_model(folder / MODEL, folder / CARD, build("tests_networks.Small", 2, seed=0), card)
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.fromarray(toy_pictures(1, 0)[0][0]).save(folder / "one.png")
    content = (folder / "one.png").read_bytes()
    (folder / "one.png").unlink()
    for name in NAMES:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(content)
    return folder


def thawline(*arguments: str, cwd: Path | None = None) -> subprocess.Popen[bytes]:
    """Start the command as a person in a real UTF-8 locale does, where Python is strict about names."""
    path = os.pathsep.join([str(TESTS.parent / "src"), str(TESTS)])
    own = {"PYTHONPATH": path, "LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "utf-8:strict"}
    code = f"from thawline.serving.cli import main; main({list(arguments)!r})"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={**os.environ, **own},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_the_table_has_one_line_of_three_cells_for_any_name(
    bundle: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "utf-8", errors="strict"))
    with pytest.raises(SystemExit, match="0"):
        main(["predict", "--model", str(bundle), str(pictures)])
    sys.stdout.flush()
    cells = [line.split("\t") for line in written.getvalue().decode().split("\n")[:-1]]
    assert sorted(name.rpartition("/")[2] for name, _, _ in cells) == sorted(NAMES.values())
    assert {label for _, label, _ in cells} <= {r"new\nline", r"a\tb"}


def test_a_table_of_csv_has_a_column_for_each_class(bundle: Path, pictures: Path, capsys) -> None:
    (pictures / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(SystemExit, match="1"):
        main(["predict", "--csv", "--model", str(bundle), str(pictures)])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out, newline="")))
    assert list(rows[0]) == [
        *("path", "label", "probability new\nline", "probability a\tb"),
        *("likeliest", "unknown", "distance", "remark", "error"),
    ]
    assert len(rows) == len(NAMES) + 1
    for each in rows:
        if each["path"].endswith("broken.jpg"):
            assert each["label"] == ""
            assert each["error"].startswith("cannot be read as a picture")
        else:
            total = float(each["probability new\nline"]) + float(each["probability a\tb"])
            assert total == pytest.approx(1)
            assert each["label"] in ("new\nline", "a\tb")


def test_many_files_show_how_far_it_is(
    bundle: Path,
    pictures: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("thawline.serving.cli.MANY", 5)
    with caplog.at_level("INFO"), pytest.raises(SystemExit, match="0"):
        main(["predict", "--jsonl", "--batch", "2", "--model", str(bundle), str(pictures)])
    assert len(capsys.readouterr().out.splitlines()) == len(NAMES)
    assert caplog.messages[-1].startswith(f"labelling: {len(NAMES)}/{len(NAMES)}")


def test_a_batch_of_no_pictures_is_refused(capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["predict", "--batch", "0", "x.jpg"])
    assert "0 is not a number of pictures\n  give 1 or more, such as 32" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_json_lines_are_one_object_each_in_any_locale(
    bundle: Path, pictures: Path, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding, errors="strict"))
    with pytest.raises(SystemExit, match="0"):
        main(["predict", "--model", str(bundle), "--jsonl", str(pictures)])
    sys.stdout.flush()
    out = written.getvalue()
    entries = [json.loads(line) for line in out.decode(encoding).split("\n")[:-1]]
    assert len(entries) == len(NAMES)
    assert all(each["label"] in each["probabilities"] for each in entries)
    found = {
        base64.b64decode(each["path_base64"]) if "path_base64" in each else each["path"].encode()
        for each in entries
    }
    assert {path.rpartition(b"/")[2] for path in found} == set(NAMES)


def test_json_lines_are_what_json_is(
    bundle: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = []
    for form in ("--json", "--jsonl"):
        with pytest.raises(SystemExit):
            main(["predict", "--model", str(bundle), form, str(pictures)])
        written.append(capsys.readouterr().out)
    whole, lines = written
    assert json.loads(whole) == [json.loads(line) for line in lines.splitlines()]


def test_a_file_that_cannot_be_read_has_a_line_of_its_own(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a\tb.jpg").write_bytes(b"no picture")
    with pytest.raises(SystemExit) as ended:
        main(["predict", "--model", str(bundle), "--jsonl", str(tmp_path / "a\tb.jpg")])
    assert ended.value.code == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["path"] == str(tmp_path / "a\tb.jpg")
    assert "cannot be read" in json.loads(line)["error"]


def test_an_error_with_a_name_that_is_no_utf8_can_be_shown() -> None:
    prediction = Prediction(Path("caf\udce9.jpg"), None, {}, "no picture: caf\udce9.jpg")
    assert json.dumps(entry(prediction), ensure_ascii=False).encode()


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "--model", "{bundle}", "--jsonl", "{pictures}"],
        ["study", "show"],
    ],
    ids=lambda arguments: " ".join(each for each in arguments if "{" not in each),
)
def test_a_reader_who_leaves_ends_a_command_quietly(
    bundle: Path, pictures: Path, tmp_path: Path, arguments: list[str]
) -> None:
    given = [each.format(bundle=bundle, pictures=pictures) for each in arguments]
    if given[0] == "study":
        storage = f"sqlite:///{tmp_path}/studies.db"
        optuna.create_study(study_name="one", storage=storage)
        given += ["--storage", storage]
    process = thawline(*given, cwd=tmp_path)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate()
    assert (err, process.returncode) == (b"", 0)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["--json", "--jsonl"])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
def test_a_full_disk_is_a_sentence(form: str, bundle: Path, pictures: Path) -> None:
    done = redirected("> /dev/full", "predict", "--model", str(bundle), form, str(pictures))
    assert done.stderr == "error: the disk is full.\n  free some space and run the same command again\n"
    assert done.returncode == 1


def test_a_closed_standard_output_is_a_sentence(bundle: Path, pictures: Path) -> None:
    done = redirected(">&-", "predict", "--model", str(bundle), str(pictures))
    assert done.stderr.startswith("error: standard output is closed.\n")
    assert done.returncode == 1


def redirected(to: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as bash does whose line ends with `to`."""
    path = os.pathsep.join([str(TESTS.parent / "src"), str(TESTS)])
    code = f"from thawline.serving.cli import main; main({list(arguments)!r})"
    return subprocess.run(
        ["bash", "-c", f'"$0" "$@" {to}', sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, "LC_ALL": "C.UTF-8"},
        text=True,
        stderr=subprocess.PIPE,
        check=False,
    )


def test_another_broken_pipe_is_not_mistaken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> int:
        raise BrokenPipeError("a worker's")

    monkeypatch.setitem(sys.modules["thawline.serving.cli"].COMMANDS, "study", fails)
    with pytest.raises(BrokenPipeError, match="a worker's"):
        main(["study", "show"])


@pytest.mark.parametrize(
    ("address", "way"),
    [
        ("https://example.org/leaf.jpg", "curl -fLO 'https://example.org/leaf.jpg'"),
        ("HTTP://example.org//leaf.jpg?a=b", "curl -fLO 'HTTP://example.org//leaf.jpg?a=b'"),
        ("s3://bucket/leaves", "fetch what lies at this address first"),
        ("file:///home/leaf.jpg", "give a path: /home/leaf.jpg"),
    ],
)
@pytest.mark.parametrize("command", [["predict"], ["predict", "x.jpg", "--model"], ["fit"]])
def test_an_address_is_named_as_it_was_given(
    command: list[str], address: str, way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, address])
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert f"{address} is an address" in said
    assert way in said


def test_what_is_escaped_can_be_told_from_what_is_not() -> None:
    assert row(["a\\nb", "a\nb"]) == "a\\\\nb\ta\\nb"
