"""What is refused is said in one go, and what is said leads out of it."""

import re
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf
from tests_prepare import card
from tests_prepare import prepared as run

from thawline.artifacts import Artifacts
from thawline.config.composition import compose, repository_root, to_config
from thawline.config.errors import UserError
from thawline.data.prepare import prepare
from thawline.data.store import open_store
from thawline.models.preprocessing import transform_for


@pytest.fixture(scope="module")
def base() -> DictConfig:
    return compose(
        repository_root(), ["target=image_folder", "target.root=pictures", "role=target", "input.size=16"]
    )


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


def test_nothing_can_be_read(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "1.jpg").write_text("no picture")
    with pytest.raises(
        UserError, match=r"none of the 2 pictures in .* can be read:\n  cat/1\.jpg: the file is no picture"
    ):
        run(tmp_path, root=str(tmp_path / "set"))


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


def empty(root: Path) -> None:
    (root / "wasp").mkdir()


@pytest.mark.parametrize(
    ("spoil", "fields", "says"),
    [
        (few, {}, "allow_missing_classes=true"),
        (copied, {}, "allow_missing_classes=true"),
        (empty, {"train_per_class": 9}, "train_per_class=6"),
        (in_folds, {}, "layout=class_folders"),
        (grouped, {}, "groups=partial"),
        (whole, {"test_fraction": 0}, "test_fraction=0.25"),
        (whole, {"layout": "split_folders"}, "layout=class_folders"),
        (whole, {"train_per_class": 7, "val_per_class": 9}, "val_per_class=6"),
    ],
)  # fmt: skip
def test_the_settings_that_a_refusal_names_lead_out_of_it(
    tmp_path, write_pictures, base, spoil, fields, says
):
    """Each is added as it stands, until nothing is refused."""
    root = tmp_path / "set"
    write_pictures(root, {"ant": 8, "bee": 8, "fly": 8})
    spoil(root)
    settings = {"root": root, **fields}
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
