"""The whole stage: stores, cards and what a person is told."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from thawline.artifacts import Artifacts
from thawline.config.choices import Layout
from thawline.config.composition import compose, to_config
from thawline.config.errors import UserError
from thawline.config.sections import Config, DataSetName, Input, Role, Source, Target
from thawline.data import prepare as prepare_module
from thawline.data.decoding import to_array
from thawline.data.prepare import prepare
from thawline.data.store import Store, open_store
from thawline.models.preprocessing import transform_for

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def run(folder: Path, role: Role = Role.target, *, seed: int = 0, size: int = 16, **fields) -> Artifacts:
    """Prepare the pictures in `fields["root"]`, or the embedded ones, below `folder`."""
    fields.setdefault("dataset", DataSetName.image_folder)
    section = {role.name: (Source if role is Role.source else Target)(**fields)}
    config = Config(seed=seed, role=role, input=Input(size=size), **section)
    artifacts = Artifacts.under(folder)
    prepare(config, transform_for, artifacts)
    return artifacts


def card(artifacts: Artifacts, name: str) -> dict:
    return json.loads((artifacts.data_output(name) / "card.json").read_text())


def split_counts(store: Store) -> dict[str, int]:
    return dict(Counter(store.manifest["split"]))


def test_a_target_becomes_two_stores(tmp_path, write_pictures):
    write_pictures(tmp_path / "set", {"cat": 20, "dog": 40})
    artifacts = run(tmp_path, root=str(tmp_path / "set"), val_fraction=0.2, test_fraction=0.25)
    target, test = (open_store(artifacts.data_output(name)) for name in ("target", "test"))
    assert split_counts(target) == {"train": 36, "val": 9}
    assert {name: len(target.part(name)) for name in ("train", "val")} == split_counts(target)
    assert split_counts(test) == {"test": 15}
    assert target.classes == test.classes == ("cat", "dog")
    assert card(artifacts, "target")["counts"] == {
        "train": {"cat": 12, "dog": 24},
        "val": {"cat": 3, "dog": 6},
        "test": {"cat": 5, "dog": 10},
    }
    names = {path.name for path in artifacts.data_output("target").parent.iterdir()}
    assert names == {"target", "test", "unlabelled", "pictures"}


def test_rows_hold_the_pictures_their_paths_name(tmp_path, write_pictures, transform):
    from PIL import Image

    write_pictures(tmp_path / "set", {"cat": 6, "dog": 6})
    store = open_store(run(tmp_path, root=str(tmp_path / "set")).data_output("target"))
    for row, path in enumerate(store.manifest["path"]):
        with Image.open(tmp_path / "set" / path) as picture:
            np.testing.assert_array_equal(store.images[row], to_array(transform, picture))
        assert store.manifest["label"][row] == path.split("/")[0] == store.classes[store.labels[row]]


def test_a_class_of_which_nothing_can_be_read_is_an_error_unless_it_may_be_missing(tmp_path, write_pictures):
    (*_, bird) = write_pictures(tmp_path / "set", {"cat": 4, "dog": 4, "bird": 1})
    bird.write_text("not a picture")
    way = r"class bird: put .*, or go on without: -S target\.allow_missing_classes=true"
    with pytest.raises(UserError, match=rf"class bird  none of its 1 picture is left: .*\n(?s:.*)\n  {way}$"):
        run(tmp_path, root=str(tmp_path / "set"))
    artifacts = run(tmp_path, root=str(tmp_path / "set"), allow_missing_classes=True)
    assert card(artifacts, "target")["classes"] == ["cat", "dog"]
    left_out = "class bird: left out: none of its 1 picture is left: cannot be read (1)"
    assert left_out in card(artifacts, "target")["notes"]


def test_classes_and_their_numbers_are_said_before_anything_else(tmp_path, write_pictures, caplog):
    write_pictures(
        tmp_path / "set", {"Training/cat": 8, "Training/dog": 9, "Testing/cat": 3, "Testing/dog": 4}
    )
    with caplog.at_level("INFO"):
        run(tmp_path, root=str(tmp_path / "set"))
    assert caplog.messages[:4] == [
        "target: 24 pictures of 2 classes found",
        "          train      test",
        "  cat         8         3",
        "  dog         9         4",
    ]


def test_all_that_is_wrong_is_in_one_table_with_the_worst_first(tmp_path, write_pictures):
    root = tmp_path / "set"
    counts = {"ant": 9, "bee": 9, "Bee": 9, "one": 1, "worm": 4, "fly": 9}
    paths = write_pictures(root, counts)
    (root / "empty").mkdir()
    for path in (root / "worm").iterdir():
        path.write_text("not a picture")
    for number in range(2):
        (root / "fly" / f"00{number}.png").write_text("not a picture")
    rows = [f"{path.relative_to(root)},{path.stem}" for path in paths if path.parent.name != "fly"]
    (root / "groups.csv").write_text("\n".join(["path,group", *rows, "gone.png,x"]))
    (root / "notes.txt").touch()
    with pytest.raises(UserError) as caught:
        run(tmp_path, root=str(root))
    lines = [line.split()[:3] for line in str(caught.value).partition("\n  \n")[0].splitlines()[1:]]
    assert lines == [
        ["error", "groups.csv", "no"],
        ["error", "class", "worm"],
        ["error", "class", "one"],
        ["error", "groups.csv", "1"],
        ["error", "class", "Bee"],
        ["error", "class", "empty"],
        ["warning", "6", "pictures"],
        ["warning", "class", "fly"],
        ["note", "files", "that"],
    ]


def whole(root: Path) -> None:
    assert root.exists()


def few(root: Path) -> None:
    for path in sorted((root / "bee").iterdir())[2:]:
        path.unlink()


def broken(root: Path) -> None:
    for path in (root / "bee").iterdir():
        path.write_text("not a picture")


def copied(root: Path) -> None:
    content = (root / "bee" / "000.png").read_bytes()
    for path in (root / "bee").iterdir():
        path.write_bytes(content)


def in_folds(root: Path) -> None:
    for name in ("ant", "bee", "fly"):
        for fold in ("fold_0", "fold_1"):
            (root / fold / name).mkdir(parents=True)
        for number, path in enumerate(sorted((root / name).iterdir())):
            path.rename(root / f"fold_{number % 2}" / name / path.name)
        (root / name).rmdir()


def grouped(root: Path) -> None:
    (root / "groups.csv").write_text("path,group\nwasp/000.png,1\nant/000.png,1\n")


def grouped_below(root: Path) -> None:
    (root / "ant" / "groups.csv").write_text("path,group\n000.png,1\n")


def empty(root: Path) -> None:
    (root / "wasp").mkdir()


@pytest.mark.parametrize(
    ("spoil", "fields", "says"),
    [
        (few, {}, "allow_missing_classes=true"),
        (few, {"train_per_class": 5}, "allow_missing_classes=true"),
        (broken, {}, "allow_missing_classes=true"),
        (copied, {}, "allow_missing_classes=true"),
        (empty, {}, "allow_missing_classes=true"),
        (empty, {"train_per_class": 9}, "train_per_class=6"),
        (in_folds, {}, "layout=class_folders"),
        (grouped, {}, "groups=partial"),
        (grouped_below, {}, "groups=partial"),
        (whole, {"val_fraction": 0}, "val_fraction=0.2"),
        (whole, {"test_fraction": 0}, "test_fraction=0.25"),
        (whole, {"layout": Layout.split_folders}, "layout=class_folders"),
        (whole, {"train_per_class": 7, "val_per_class": 9}, "val_per_class=6"),
    ],
)  # fmt: skip
def test_the_settings_that_a_refusal_names_lead_out_of_it(tmp_path, write_pictures, spoil, fields, says):
    """Each is added as it stands, until nothing is refused."""
    root = tmp_path / "set"
    write_pictures(root, {"ant": 8, "bee": 8, "fly": 8})
    spoil(root)
    base = compose(ROOT, ["target=image_folder", f"target.root={root}", "role=target", "input.size=16"])
    settings = {name: getattr(value, "name", value) for name, value in fields.items()}
    said = ""
    for _ in range(3):
        given = OmegaConf.from_dotlist([f"target.{name}={value}" for name, value in settings.items()])
        try:
            config = to_config(OmegaConf.merge(base, given))
            prepare(config, transform_for, Artifacts.under(tmp_path))
            break
        except UserError as error:
            said += str(error)
            found = re.findall(r"-S target\.(\w+)=(\S+)", str(error))
            settings.update(dict(found[:1]) if "Add what is right" in str(error) else found)
    else:
        pytest.fail(f"these do not help: {settings}\n{said}")
    assert says in said
    store = open_store(Artifacts.under(tmp_path).data_output("target"))
    assert {"train", "val"} == set(store.manifest["split"])


def damaged(root: Path, write_pictures: Callable[..., list[Path]]) -> Path:
    """Pictures of which some are damaged in ways that decoders have their own words for."""
    paths = write_pictures(root, {"cat": 12, "dog": 12})
    whole = paths[0].read_bytes()
    broken = [
        b"",
        b"no picture",
        whole[:40],
        whole[: len(whole) // 2],
        b"\xff\xd8\xff\xe0" + whole,
        b"GIF89a",
    ]
    broken += [b"II*\0\xff\xff\xff\xff", b"BM" + whole, b"RIFF\0\0\0\0WEBP"]
    for number, content in enumerate(broken):
        (root / "cat" / f"broken {number}.png").write_bytes(content)
    (root / "dog" / "gone.png").symlink_to(root / "nowhere.png")
    (root / "dog" / "1.nef").touch()
    (root / "dog" / "2.dng").touch()
    return root


def test_damaged_pictures_give_the_same_bytes_wherever_and_whenever(tmp_path, write_pictures):
    damaged(tmp_path / "set", write_pictures)
    shutil.copytree(tmp_path / "set", tmp_path / "deeper" / "copy", symlinks=True)
    command = (
        "import sys; sys.path.insert(0, 'tests/data'); from test_prepare import prepare_folder as prepare; "
        "prepare(*sys.argv[1:])"
    )
    for name, root in (("a", tmp_path / "set"), ("b", tmp_path / "deeper" / "copy")):
        # in a process each: addresses and whatever else a process has differ
        arguments = [sys.executable, "-c", command, str(tmp_path / name), str(root)]
        subprocess.run(arguments, check=True, cwd=Path(__file__).resolve().parents[2])
    files = {path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()}
    assert len([name for name in files if name.suffix != ".webp"]) == 8
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    assert "0x" not in (tmp_path / "a/artifacts/prepare/target/card.json").read_text()


def prepare_folder(folder: str, root: str) -> None:
    """Prepare the pictures in `root`; called in processes of their own."""
    run(Path(folder), root=root)


def test_a_source_becomes_one_store_without_test_pictures(tmp_path, write_pictures):
    write_pictures(tmp_path / "set", {"train/cat": 10, "train/dog": 10, "test/cat": 5, "test/dog": 5})
    artifacts = run(tmp_path, Role.source, root=str(tmp_path / "set"), val_fraction=0.2)
    assert split_counts(open_store(artifacts.data_output("source"))) == {"train": 16, "val": 4}
    assert card(artifacts, "source")["notes"] == ["10 test pictures are not used: a source is not tested"]
    assert not artifacts.data_output("test").exists()


def test_published_weights_as_a_source_leave_a_note(tmp_path):
    artifacts = run(tmp_path, Role.source, dataset=None, weights="DEFAULT")
    with pytest.raises(UserError, match="holds no pictures: the source is published weights"):
        open_store(artifacts.data_output("source"))


def test_equal_seeds_give_equal_bytes_and_others_do_not(tmp_path, write_pictures):
    write_pictures(tmp_path / "set", {"cat": 12, "dog": 12})
    runs = [
        run(tmp_path / name, root=str(tmp_path / "set"), seed=seed)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    contents = [
        {path.name: path.read_bytes() for path in sorted(artifacts.data_output("target").iterdir())}
        for artifacts in runs
    ]
    assert contents[0] == contents[1]
    assert contents[0]["manifest.csv"] != contents[2]["manifest.csv"]


def test_the_card_does_not_say_where_the_pictures_lay(tmp_path, write_pictures):
    write_pictures(tmp_path / "set", {"cat": 6, "dog": 6})
    shutil.copytree(tmp_path / "set", tmp_path / "moved")
    cards = [card(run(tmp_path / name, root=str(tmp_path / name)), "target") for name in ("set", "moved")]
    assert cards[0] == cards[1]


def test_everything_left_out_is_on_the_card(tmp_path, write_pictures, caplog):
    root = tmp_path / "set"
    paths = write_pictures(root, {"train/cat": 12, "train/dog": 12, "test/cat": 4, "test/dog": 4})
    paths[0].write_text("not a picture")
    shutil.copy(root / "train/cat/001.png", root / "train/dog/again.png")
    shutil.copy(root / "test/cat/000.png", root / "train/cat/seen.png")
    paths[2].rename(root / "train" / "loose.png")
    with caplog.at_level("INFO"):
        artifacts = run(tmp_path, root=str(root), train_per_class=5, val_per_class=2)
    report = card(artifacts, "target")
    assert {picture["path"]: picture["reason"] for picture in report["dropped"]} == {
        "train/cat/000.png": "cannot be read",
        "train/cat/001.png": "the same picture has several labels",
        "train/dog/again.png": "the same picture has several labels",
        "train/cat/seen.png": "a train picture that looks like a given test picture",
        "train/loose.png": "not in a class folder",
    }
    assert report["counts"]["train"] == {"cat": 5, "dog": 5}
    assert report["not_needed"] == 9 + 12 - 2 * 7
    assert report["near_duplicate_groups"] == [["test/cat/000.png", "train/cat/seen.png"]]
    assert (
        "2 pictures: left out: the same picture has several labels; the first is train/cat/001.png (cat, dog)"
        in caplog.messages
    )
    assert "target: 10 train, 4 val, 8 test" in caplog.messages


def test_nothing_can_be_read(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "1.jpg").write_text("no picture")
    with pytest.raises(
        UserError, match=r"none of the 2 pictures in .* can be read:\n  cat/1\.jpg: the file is no picture"
    ):
        run(tmp_path, root=str(tmp_path / "set"))


def test_a_missing_root(tmp_path):
    with pytest.raises(UserError, match="nowhere does not exist"):
        run(tmp_path, root=str(tmp_path / "nowhere"))


def test_a_failure_leaves_the_old_store(tmp_path, write_pictures):
    paths = write_pictures(tmp_path / "set", {"cat": 8, "dog": 8})
    artifacts = run(tmp_path, root=str(tmp_path / "set"))
    before = open_store(artifacts.data_output("target")).fingerprint
    for path in paths[:8]:
        path.unlink()
    with pytest.raises(UserError, match="only one, dog, can be used"):
        run(tmp_path, root=str(tmp_path / "set"))
    assert open_store(artifacts.data_output("target")).fingerprint == before


def test_killed_between_two_stores_no_test_pictures_of_another_split_remain(
    tmp_path, write_pictures, monkeypatch
):
    write_pictures(tmp_path / "set", {"cat": 8, "dog": 8})
    artifacts = run(tmp_path, root=str(tmp_path / "set"))
    write = prepare_module.write_store

    def killed(directory: Path, *arguments, **options) -> None:
        if directory.name == "test":
            raise KeyboardInterrupt
        write(directory, *arguments, **options)

    monkeypatch.setattr(prepare_module, "write_store", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, root=str(tmp_path / "set"), seed=1)
    open_store(artifacts.data_output("target"))
    with pytest.raises(UserError, match="does not exist"):
        open_store(artifacts.data_output("test"))


def test_glyphs(tmp_path):
    artifacts = run(
        tmp_path,
        Role.source,
        dataset=DataSetName.glyphs,
        glyphs_per_class=4,
        val_fraction=0.25,
        near_duplicate_bits=-1,
    )
    store = open_store(artifacts.data_output("source"))
    assert split_counts(store) == {"train": 156, "val": 52}
    assert len(store.classes) == 52
    assert store.images.shape[1:] == (16, 16, 3)


def test_digits(tmp_path):
    artifacts = run(
        tmp_path, dataset=DataSetName.digits, train_per_class=3, val_per_class=5, near_duplicate_bits=-1
    )
    target, test = (open_store(artifacts.data_output(name)) for name in ("target", "test"))
    assert target.classes == tuple("0123456789")
    assert split_counts(target) == {"train": 30, "val": 50}
    assert split_counts(test) == {"test": 1797 - 80}
    assert not set(target.manifest["path"]) & set(test.manifest["path"])


def test_preparing_does_not_import_torch():
    code = "import sys, thawline.data.prepare; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "train", "test"),
    [
        ("hotdog", {"hotdog": 274, "nothotdog": 272}, {"hotdog": 225, "nothotdog": 225}),
        ("antsbees", {"ants": 123, "bees": 121}, {"ants": 70, "bees": 83}),
    ],
)
def test_real_photographs_arrive_complete(tmp_path, name, train, test):
    archive = SHARED / f"{name}.tar"
    if not archive.exists():
        pytest.skip(f"{archive.name} is not beside the checkout")
    artifacts = run(tmp_path, root=str(archive), size=64, val_fraction=0.2)
    report = card(artifacts, "target")
    assert report["dropped"] == []
    assert report["counts"]["test"] == test
    assert {
        label: report["counts"]["train"][label] + report["counts"]["val"][label] for label in train
    } == train
    for label, count in train.items():
        assert report["counts"]["val"][label] == pytest.approx(0.2 * count, abs=1)
    assert open_store(artifacts.data_output("test")).images.shape == (sum(test.values()), 64, 64, 3)
