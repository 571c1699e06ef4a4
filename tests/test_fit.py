"""One command from photographs to a model."""

import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from thawline.artifacts import Artifacts
from thawline.clock import COUNTED, Clock
from thawline.config.composition import compose
from thawline.config.errors import UserError
from thawline.config.overrides import override, shell_line
from thawline.fit import _alone, command, fit, look, require_whole_files

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def leaves(tmp_path: Path) -> Path:
    folder = tmp_path / "my leaves (2026)"
    folder.mkdir()
    return folder


def settings(run: list[str]) -> list[str]:
    assert run[:3] == ["dvc", "exp", "run"]
    assert set(run[3::2]) == {"-S"}
    return run[4::2]


def test_the_command_is_an_experiment_that_hydra_composes(leaves: Path) -> None:
    found = compose(ROOT, settings(command(leaves, 7.5, ["imagenet"], ["seed=3"], ROOT)))
    assert found.target.root == str(leaves)
    assert (found.plan.minutes, found.seed) == (7.5, 3)
    assert found.target.dataset == "image_folder"


NAMES = [
    *("josé", "v=1", "p(1)", "a,b", "two words", " space around ", "#1", "$HOME", "$5 & more", "o'brien"),
    *('"said"', "back\\slash", "ends in \\", "\\'both", "a;b|c>d", "{{ x }}", "[a]", "{a:b}", "a:b"),
    *("!important", "`date`", "苹果", "🐈", "new\nline", "tab\there", "*?", "~", "100 %", "e\u0301"),
    *("-dash", "true", "1e5", "a&&b", "\\$x"),
]
"""Names of folders that a shell, Hydra's grammar or both read otherwise where they are not quoted."""


def read(given_: str) -> str:
    """Return the value of a setting as Hydra's grammar reads it."""
    (parsed,) = OverridesParser.create().parse_overrides([given_])
    assert not parsed.is_sweep_override()
    value = parsed.value()
    return str(value.text if hasattr(value, "text") else value)


def split_by_bash(line: str) -> list[str]:
    """Return the words that bash makes of a line."""
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True)
    return done.stdout.decode().split("\0")[:-1]


@pytest.mark.parametrize("name", [*NAMES, "/".join(NAMES)])
def test_the_line_that_is_printed_can_be_pasted_whatever_the_folder_is_called(
    tmp_path: Path, name: str
) -> None:
    """Read as bash splits it, as DVC parses it (by Hydra's parser), and as Hydra composes it."""
    folder = tmp_path / name
    folder.mkdir(parents=True)
    words = command(folder, 5, ["imagenet"], [], ROOT)
    assert split_by_bash(shell_line(words)) == words
    (root,) = (each for each in settings(words) if each.startswith("target.root="))
    assert read(root) == str(folder)
    if name in ("/".join(NAMES), "ends in \\", " space around "):  # what composes one composes the others
        found = compose(ROOT, settings(words))
        assert (found.target.root, found.target.watch) == (str(folder), str(folder))


@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0/"), min_size=1))
def test_any_text_comes_back_from_hydras_grammar_and_from_bash(text: str) -> None:
    given_ = override("target.root", f"/{text}")
    assert split_by_bash(shell_line([given_])) == [given_]
    assert read(given_) == f"/{text}"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("source.weights=/home/josé/w.pth", "/home/josé/w.pth"),
        ("source.weights=/d/v=1/w.pth", "/d/v=1/w.pth"),
        ("source.weights=~/w.pth", "~/w.pth"),
        ("source.weights=/d/p(1).pth", "/d/p(1).pth"),
    ],
)
def test_further_settings_are_quoted_where_hydra_could_not_read_them(
    leaves: Path, typed: str, meant: str
) -> None:
    given_ = settings(command(leaves, 5, ["weights"], [typed, "model.architecture=resnet18"], ROOT))
    (weights,) = (each for each in given_ if each.startswith("source.weights="))
    assert read(weights) == meant


def test_settings_that_hydra_reads_stay_as_they_were_typed(leaves: Path) -> None:
    typed = ["contenders=[finetuned,linear_probe]", "search.space.head_lr={low: 1e-4, high: 1e-2}", "seed=3"]
    assert settings(command(leaves, 5, ["imagenet"], typed, ROOT))[-3:] == typed


def test_a_folder_that_params_yaml_cannot_hold_is_refused_but_not_a_link_to_it(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    with pytest.raises(UserError, match=r"caf\\xe9: params.yaml cannot hold this path"):
        command(folder, 5, ["imagenet"], [], ROOT)
    (tmp_path / "pictures").symlink_to(folder)
    found = settings(command(tmp_path / "pictures", 5, ["imagenet"], [], ROOT))
    assert f"target.root={tmp_path}/pictures" in found


def test_a_broken_link_is_named_before_dvc_meets_it(leaves: Path, tmp_path: Path) -> None:
    (leaves / "maple").mkdir()
    (leaves / "maple" / "1.jpg").symlink_to("/media/gone/1.jpg")
    with pytest.raises(UserError, match=r"links lead nowhere: .*maple/1\.jpg"):
        command(leaves, 5, ["imagenet"], [], ROOT)
    (tmp_path / "gone").symlink_to("/media/gone")
    with pytest.raises(UserError, match=r"gone is a link to /media/gone"):
        command(tmp_path / "gone", 5, ["imagenet"], [], ROOT)


def test_an_address_of_weights_is_named_as_it_was_given(leaves: Path) -> None:
    with pytest.raises(UserError, match=r"--source https://example\.org/w\.pth is an address"):
        command(leaves, 5, ["https://example.org/w.pth"], [], ROOT)


@pytest.mark.parametrize("name", ["labels.csv", "Labels.TSV"])
def test_a_table_is_read_as_one(tmp_path: Path, name: str) -> None:
    table = tmp_path / name
    table.write_text("path,label\n")
    assert "target=table" in settings(command(table, 5, ["imagenet"], [], ROOT))


def test_a_file_with_weights_is_a_source(leaves: Path, tmp_path: Path) -> None:
    weights = tmp_path / "body.pth"
    weights.touch()
    found = settings(command(leaves, 5, [str(weights)], ["model.architecture=resnet18"], ROOT))
    assert found[:2] == ["source=weights", f"source.weights={weights}"]
    assert found[-1] == "model.architecture=resnet18"


def test_without_minutes_the_configured_counts_hold(leaves: Path) -> None:
    found = settings(command(leaves, None, ["imagenet"], [], ROOT))
    assert not any(each.startswith("plan.minutes") for each in found)


def test_the_home_of_nobody_is_named() -> None:
    with pytest.raises(UserError, match=r"^~nobody-is-called-so does not exist\.\n  give a folder with one"):
        command(Path("~nobody-is-called-so"), 5, ["imagenet"], [], ROOT)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"leafs does not exist\.\n  give a folder with one folder for each"):
        command(tmp_path / "leafs", 5, ["imagenet"], [], ROOT)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("imagnet", r"--source imagnet is no source; nearest: imagenet"),
        ("weights/lite.pth", r"--source weights/lite\.pth: there is no such file"),
    ],
)
def test_a_source_that_is_not_there_is_named(leaves: Path, source: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        command(leaves, 5, [source], [], ROOT)


LONG = "a" * 300


def test_a_name_that_the_system_does_not_take_is_a_sentence(leaves: Path) -> None:
    with pytest.raises(UserError, match=r"a{300} cannot be looked at: this name is too long"):
        command(leaves / LONG, 5, ["imagenet"], [], ROOT)
    for source in (LONG, f"mobilenet_v2={LONG}.pth"):
        with pytest.raises(UserError, match=r"--source .*a{300}.* cannot be looked at: this name"):
            command(leaves, 5, [source], [], ROOT)


def test_a_folder_behind_one_that_may_not_be_entered_is_a_sentence(
    leaves: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "stat", closed)
    with pytest.raises(UserError, match=r"cannot be looked at: a folder on the way to it may not be entered"):
        command(leaves, 5, ["imagenet"], [], ROOT)


def closed(path: Path, **_: object) -> os.stat_result:
    raise PermissionError(errno.EACCES, "Permission denied", str(path))


def test_several_sources_are_candidates(leaves: Path, tmp_path: Path) -> None:
    body = tmp_path / "a b" / "body.safetensors"
    body.parent.mkdir()
    body.touch()
    found = settings(command(leaves, 5, ["imagenet", f"mobilenet_v2={body}"], [], ROOT))
    composed = compose(ROOT, found)
    lite0 = "timm:tf_efficientnet_lite0=efficientnet-lite0"
    assert composed.source.candidates == [lite0, f"mobilenet_v2={body}"]
    assert composed.source.dataset is None
    assert composed.input.size is None  # each brings its own


def test_a_single_file_with_its_network_is_watched(leaves: Path, tmp_path: Path) -> None:
    body = tmp_path / "a=b" / "body.safetensors"
    body.parent.mkdir()
    body.touch()
    composed = compose(ROOT, settings(command(leaves, 5, [f"mobilenet_v2={body}"], [], ROOT)))
    assert (composed.model.architecture, composed.source.weights) == ("mobilenet_v2", str(body))
    assert composed.source.watch == str(body)
    assert composed.source.candidates == []


@pytest.mark.parametrize("others", [[], ["imagenet"]])
def test_a_file_of_a_network_is_found_from_the_folder_in_which_it_was_typed(
    others: list[str], leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "body.pth").touch()
    monkeypatch.chdir(tmp_path)
    run = command(leaves, 5, [*others, "mobilenet_v2=body.pth"], [], ROOT)
    monkeypatch.chdir(leaves)
    (named,) = (each for each in settings(run) if "body.pth" in each)
    assert str(tmp_path / "body.pth") in read(named)
    with pytest.raises(UserError, match=r"--source mobilenet_v2=gone\.pth: there is no file gone\.pth"):
        command(leaves, 5, [*others, "mobilenet_v2=gone.pth"], [], ROOT)


def test_a_source_may_say_its_network(leaves: Path) -> None:
    composed = compose(ROOT, settings(command(leaves, 5, ["timm:resnet18"], [], ROOT)))
    assert composed.source.candidates == ["timm:resnet18=DEFAULT"]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a source and a lock."""
    (tmp_path / "conf" / "source").mkdir(parents=True)
    (tmp_path / "conf" / "source" / "imagenet.yaml").touch()
    (tmp_path / "params.yaml").write_text("as it was")
    monkeypatch.setattr("thawline.fit.look", lambda *_: ([], ""))
    return tmp_path


def interrupted() -> int:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("ends", "error", "says"),
    [(lambda: 1, UserError, "the same command goes on"), (interrupted, KeyboardInterrupt, None)],
)
def test_a_pipeline_that_does_not_end_leaves_the_lock_as_it_was(
    leaves: Path,
    checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    ends: Callable[[], int],
    error: type[BaseException],
    says: str | None,
) -> None:
    def run(_: object, root: Path, told: dict[str, str]) -> int:
        (root / "params.yaml").write_text("the experiment's")
        assert told == {COUNTED: Clock(Artifacts.under(root).clock).key}
        return ends()

    monkeypatch.setattr("thawline.fit._run", run)
    with pytest.raises(error, match=says):
        fit(leaves, 5, ["imagenet"], [], checkout)
    assert (checkout / "params.yaml").read_text() == "as it was"


def test_a_second_fit_in_the_same_clone_is_refused_and_changes_nothing(leaves: Path, checkout: Path) -> None:
    with _alone(checkout), pytest.raises(UserError, match=r"another fit is at work in .*\n  wait"):
        fit(leaves, 5, ["imagenet"], [], checkout)
    assert (checkout / "params.yaml").read_text() == "as it was"
    # it holds for no longer than the first is at work
    with _alone(checkout):
        pass


def pictures(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_the_classes_are_seen_before_anything_runs(leaves: Path) -> None:
    pictures(leaves, "Training/oak/1.jpg", "Training/elm/1.jpg", "Testing/elm/2.jpg")
    assert look(command(leaves, 5, ["imagenet"], [], ROOT), ROOT)[0] == [
        "target: 3 pictures of 2 classes found",
        "          train      test",
        "  elm         1         1",
        "  oak         1         0",
    ]


def test_pictures_that_are_voted_for_are_seen_as_such(leaves: Path, tmp_path: Path) -> None:
    """And costs of mistakes among these classes are accepted."""
    pictures(leaves, "oak/1.jpg", "elm/1.jpg", "2.jpg", "3.jpg")
    (tmp_path / "votes.csv").write_text("path,ann\n2.jpg,oak\n")
    (tmp_path / "costs.csv").write_text("true,oak,elm\noak,0,5\nelm,1,0\n")
    further = [f"target.votes={tmp_path}/votes.csv", f"evaluate.costs={tmp_path}/costs.csv"]
    assert look(command(leaves, 5, ["imagenet"], further, ROOT), ROOT)[0] == [
        "target: 3 pictures of 2 classes found",
        "          voted  in no split",
        "  elm         0            1",
        "  oak         1            1",
    ]


def test_other_pictures_are_other_work_whose_time_begins_anew(leaves: Path) -> None:
    pictures(leaves, "oak/1.jpg", "elm/1.jpg")
    run = command(leaves, 5, ["imagenet"], [], ROOT)
    before = look(run, ROOT)[1]
    assert look(run, ROOT)[1] == before
    (leaves / "oak" / "1.jpg").rename(leaves / "elm" / "2.jpg")
    pictures(leaves, "oak/3.jpg")
    assert look(run, ROOT)[1] != before


def test_costs_may_leave_out_a_class_that_may_be_missing(leaves: Path, tmp_path: Path) -> None:
    pictures(leaves, "oak/1.jpg", "elm/1.jpg", "ash/1.jpg")
    (tmp_path / "costs.csv").write_text("true,oak,elm\noak,0,5\nelm,1,0\n")
    further = [f"evaluate.costs={tmp_path}/costs.csv", "target.allow_missing_classes=true"]
    look(command(leaves, 5, ["imagenet"], further, ROOT), ROOT)
    with pytest.raises(UserError, match="ash"):
        look(command(leaves, 5, ["imagenet"], further[:1], ROOT), ROOT)


def test_costs_of_other_classes_are_refused_before_anything_runs(leaves: Path, tmp_path: Path) -> None:
    pictures(leaves, "oak/1.jpg", "elm/1.jpg")
    costs = tmp_path / "costs.csv"
    run = command(leaves, 5, ["imagenet"], [f"evaluate.costs={costs}"], ROOT)
    costs.write_text("true,oak,ash\noak,0,5\nash,1,0\n")
    with pytest.raises(UserError, match="names no class of these pictures: ash"):
        look(run, ROOT)


AMBIGUOUS = ("a/airfield/1.jpg", "a/alley/1.jpg", "b/bakery/1.jpg", "b/beach/2.jpg")


def test_folders_that_could_mean_several_things_are_refused_before_anything_runs(
    leaves: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures(leaves, *AMBIGUOUS)
    monkeypatch.setattr("thawline.fit._run", lambda *_: pytest.fail("it ran"))
    with pytest.raises(UserError, match=r"could mean several(?s:.*)-S target\.layout=innermost_folders\n"):
        fit(leaves, 5, ["imagenet"], [], ROOT)


def test_another_root_and_layout_among_the_settings_are_those_that_count(
    leaves: Path, tmp_path: Path
) -> None:
    other = pictures(tmp_path / "other", *AMBIGUOUS)
    further = [f"target.root={other}", "target.layout=innermost_folders"]
    found, _ = look(command(leaves, 5, ["imagenet"], further, ROOT), ROOT)
    assert found[0] == "target: 4 pictures of 4 classes found"


@pytest.mark.parametrize("end", ["siz", "- path:", "outs:\n"])
def test_a_lock_that_is_cut_off_is_named_with_what_helps(end: str, tmp_path: Path) -> None:
    """As a full disk leaves it, or a kill."""
    require_whole_files(tmp_path)
    whole = (ROOT / "dvc.lock").read_text()
    (tmp_path / "dvc.lock").write_text(whole)
    require_whole_files(tmp_path)
    (tmp_path / "dvc.lock").write_text(whole[: whole.rindex(end) + len(end)])
    with pytest.raises(UserError, match=r"(?s)ends in the middle.*git checkout dvc\.lock"):
        require_whole_files(tmp_path)


def test_a_note_of_who_is_at_work_that_is_cut_off_is_named_with_what_helps(tmp_path: Path) -> None:
    note = tmp_path / ".dvc" / "tmp" / "rwlock"
    note.parent.mkdir(parents=True)
    note.write_text("{}")
    require_whole_files(tmp_path)
    note.write_text("")
    with pytest.raises(UserError, match=r"(?s)ends in the middle.*: (rm \.dvc/tmp/rwlock)$") as said:
        require_whole_files(tmp_path)
    subprocess.run(str(said.value).rpartition(": ")[2], shell=True, cwd=tmp_path, check=True)
    require_whole_files(tmp_path)
