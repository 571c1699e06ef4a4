"""Black and white of more than 8 bits are found in the training pictures, said, kept and used for all."""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from PIL import Image

from thawline.artifacts import Artifacts
from thawline.config.errors import FieldError, UserError
from thawline.config.sections import Config, DataSetName, Input, Role, Source, Target
from thawline.data import ranges
from thawline.data import scan as scan_module
from thawline.data.collection import Item
from thawline.data.prepare import prepare
from thawline.data.store import Store, open_store
from thawline.models.preprocessing import transform_for

To = Callable[[np.ndarray], np.ndarray]


def gray(number: int, highest: int = 255) -> np.ndarray:
    """Waves in a direction that tells the class, some brighter than others; `(12, 12)` in 0..highest."""
    random = np.random.default_rng(number)
    y, x = np.mgrid[0:12, 0:12] / 12
    wave = np.sin(6 * (x if number % 2 else y) + random.uniform(0, 6)) + random.normal(0, 0.3, (12, 12))
    scaled = (wave - wave.min()) / (wave.max() - wave.min())
    return np.rint(scaled * highest * (0.6 if number % 3 else 1)).astype(np.uint8)


def write(root: Path, to: To, counts: Mapping[str, int] = {"across": 12, "down": 12}) -> Path:  # noqa: B006
    """Write so many pictures into each folder, of the levels that `to` makes of those of 8 bits."""
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            number = 2 * index + folder.endswith("across") + 100 * sum(map(ord, folder))
            Image.fromarray(to(gray(number))).save(root / folder / f"{index:02d}.tif")
    return root


def bits(count: int) -> To:
    return lambda eight: np.rint(eight * ((2**count - 1) / 255)).astype(np.uint16)


def run(root: Path, role: Role = Role.target, **fields) -> Artifacts:
    """Prepare the pictures in a folder; without looking for near-duplicates, because waves are alike."""
    given = {"dataset": DataSetName.image_folder, "root": str(root), "near_duplicate_bits": -1, **fields}
    section = {role.name: (Source if role is Role.source else Target)(**given)}
    artifacts = Artifacts.under(root.parent / f"artifacts of {root.name}")
    prepare(Config(role=role, input=Input(size=12), **section), transform_for, artifacts)
    return artifacts


def stores(artifacts: Artifacts, *names: str) -> list[Store]:
    return [open_store(artifacts.data_output(name)) for name in names]


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Artifacts:
    """What the waves are in 8 bits."""
    return run(write(tmp_path_factory.mktemp("plain") / "8", lambda eight: eight))


def notes(artifacts: Artifacts, name: str = "target") -> list[str]:
    return json.loads((artifacts.data_output(name) / "card.json").read_text())["notes"]


@pytest.mark.parametrize("count", [10, 16])
def test_the_same_pictures_in_any_number_of_bits_are_the_same_to_a_network(tmp_path, plain, count):
    deep = stores(run(write(tmp_path / "deep", bits(count))), "target", "test")
    for one, other in zip(stores(plain, "target", "test"), deep, strict=True):
        assert one.manifest["path"].tolist() == other.manifest["path"].tolist()
        np.testing.assert_array_equal(one.images, other.images)
        assert (one.transform.range, other.transform.range) == (None, (0, 2**count - 1))


def test_what_was_found_is_said(tmp_path, caplog):
    with caplog.at_level("INFO"):
        artifacts = run(write(tmp_path / "set", bits(10)))
    said = (
        "pictures of more than 8 bits: 0 is black and 1023 is white; 14 of them are trained on, and their "
        "values end at 1023"
    )
    assert said in caplog.messages
    assert notes(artifacts) == [said]


def test_pictures_of_8_bits_are_decoded_once_and_nothing_is_said(tmp_path, monkeypatch):
    opened = []
    decode = scan_module._decode
    monkeypatch.setattr(scan_module, "_decode", lambda *given: opened.append(given[-1]) or decode(*given))
    artifacts = run(write(tmp_path / "set", lambda eight: eight))
    assert sorted(opened) == list(range(24))
    assert notes(artifacts) == []
    assert "range" not in json.loads((artifacts.data_output("target") / "card.json").read_text())["transform"]


SPLITS = {f"{split}/{name}": 4 for split in ("train", "val", "test") for name in ("across", "down")}


@pytest.mark.parametrize("bright", ["val", "test"])
def test_nothing_but_training_pictures_decides(tmp_path, bright):
    root = write(tmp_path / "set", bits(10), SPLITS)
    expected = stores(run(root), "target")[0].part("train").images.copy()
    picture = root / bright / "across" / "00.tif"
    Image.fromarray(np.full((12, 12), 60000, np.uint16)).save(picture)
    artifacts = run(root)
    target, test = stores(artifacts, "target", "test")
    assert target.transform.range == test.transform.range == (0, 1023)
    np.testing.assert_array_equal(target.part("train").images, expected)
    changed = next(s for s in (target, test) if f"{bright}/across/00.tif" in set(s.manifest["path"]))
    row = changed.manifest["path"].tolist().index(f"{bright}/across/00.tif")
    assert (changed.images[row] == 255).all()
    assert notes(artifacts)[:-1] == [
        "1 of 24 pictures of more than 8 bits: values outside 0 to 1023, black and white, are cut off "
        f"({bright}/across/00.tif)"
    ]


def test_pictures_that_are_nearly_black_beside_the_others_are_counted(tmp_path):
    root = write(tmp_path / "set", bits(16))
    for index in range(4):
        Image.fromarray(gray(300 + index).astype(np.uint16)).save(root / "down" / f"8 bits {index}.tif")
    assert notes(run(root))[:-1] == [
        "4 of 28 pictures of more than 8 bits: values fill little of 0 to 65535, black and white "
        "(down/8 bits 0.tif, down/8 bits 1.tif, down/8 bits 2.tif, down/8 bits 3.tif)"
    ]


def test_a_few_pictures_that_make_all_others_dark_are_said(tmp_path):
    root = write(tmp_path / "set", bits(12), SPLITS)
    hot = bits(12)(gray(7))
    hot[0, 0] = 65535
    Image.fromarray(hot).save(root / "train" / "down" / "00.tif")
    artifacts = run(root)
    assert stores(artifacts, "target")[0].transform.range == (0, 65535)
    advice = (
        "pictures of more than 8 bits: only 1 of the 8 that are trained on go above 4095: if that is a "
        "fault of theirs, -S 'target.range=[0,4095]' shows all others brighter"
    )
    assert advice in notes(artifacts)
    with_advice = run(root, **settings(advice))
    assert stores(with_advice, "target")[0].transform.range == (0, 4095)
    assert "only" not in " ".join(notes(with_advice))


def settings(message: str) -> dict[str, object]:
    """Return the fields that the setting in a message means to the configuration."""
    (setting,) = re.findall(r"-S '(target\.range=\S+)'", message)
    (parsed,) = OverridesParser.create().parse_overrides([setting])
    return {"range": Target(root="pictures", dataset=DataSetName.image_folder, range=parsed.value()).range}


@pytest.mark.parametrize(
    ("to", "setting"),
    [
        (lambda eight: eight.astype(np.int32) * 8 - 1000, "target.range=[-1000,1040]"),
        (lambda eight: (eight / 255 - 0.5).astype(np.float32), "target.range=[-0.5,0.5]"),
    ],
    ids=["Hounsfield units", "floats around 0"],
)
def test_values_without_black_and_white_are_refused_with_the_setting_that_defines_them(
    tmp_path, plain, to, setting
):
    root = write(tmp_path / "set", to)
    with pytest.raises(
        UserError, match="24 of 24 pictures have values without a defined black and"
    ) as refusal:
        run(root)
    assert f"'{setting}'" in str(refusal.value)
    artifacts = run(root, **settings(str(refusal.value)))
    for one, other in zip(*(stores(each, "target", "test") for each in (plain, artifacts)), strict=True):
        np.testing.assert_array_equal(one.images, other.images)


def test_the_setting_that_is_proposed_does_not_come_from_test_pictures(tmp_path):
    root = write(tmp_path / "set", lambda eight: eight.astype(np.int32) - 100, SPLITS)
    write(root, lambda eight: eight.astype(np.int32) - 5000, {"test/across": 4, "test/down": 4})
    with pytest.raises(UserError, match=r"(?s)24 of 24 .*'target\.range=\[-100,155\]'") as refusal:
        run(root)
    artifacts = run(root, **settings(str(refusal.value)))
    assert (stores(artifacts, "test")[0].images == 0).all()
    assert "8 of 24 pictures of more than 8 bits: values outside -100 to 155" in notes(artifacts)[0]


def test_a_range_that_concerns_no_picture_is_said(tmp_path):
    artifacts = run(write(tmp_path / "set", lambda eight: eight), range=[0, 1000])
    assert notes(artifacts) == ["target.range: is set, but all pictures have 8 bits: it changes none of them"]
    assert stores(artifacts, "target")[0].transform.range == (0, 1000)


def test_one_picture_without_black_and_white_is_left_out(tmp_path, caplog):
    root = write(tmp_path / "set", bits(12))
    Image.fromarray(np.full((12, 12), -5, np.int32)).save(root / "down" / "bad.tif")
    artifacts = run(root)
    assert "1 picture: left out: black and white are not defined; the first is down/bad.tif" in caplog.text
    (dropped,) = json.loads((artifacts.data_output("target") / "card.json").read_text())["dropped"]
    assert dropped["path"] == "down/bad.tif"
    assert dropped["detail"] == "integers from -5 to -5 have no defined black and white"


def test_floats_from_0_to_1_need_no_setting(tmp_path, plain):
    artifacts = run(write(tmp_path / "set", lambda eight: (eight / 255).astype(np.float32)))
    (store,) = stores(artifacts, "target")
    assert store.transform.range == (0, 1)
    np.testing.assert_array_equal(store.images, stores(plain, "target")[0].images)


def test_integers_beside_floats_are_refused(tmp_path):
    root = write(tmp_path / "set", bits(10), {"across": 12})
    write(root, lambda eight: (eight / 255).astype(np.float32), {"down": 12})
    (root / "empty").mkdir()
    with pytest.raises(
        UserError, match=r"some hold integers \(across/.*\), others floats \(down/"
    ) as refusal:
        run(root)
    assert [line.split()[0] for line in str(refusal.value).splitlines()[1:3]] == ["error", "error"]
    assert "class empty" in str(refusal.value)


def test_a_source_has_its_own_range(tmp_path):
    root = write(tmp_path / "set", bits(12))
    assert stores(run(root, Role.source), "source")[0].transform.range == (0, 4095)
    assert stores(run(root, Role.source, range=[0, 2000]), "source")[0].transform.range == (0, 2000)
    write(root, lambda eight: eight.astype(np.int32) - 128)
    with pytest.raises(UserError, match=r"'source\.range=\[-128,127\]'"):
        run(root, Role.source)


def test_copies_are_found_and_pictures_that_differ_are_not_copies_however_dark_they_are(tmp_path):
    root = write(tmp_path / "set", lambda eight: eight.astype(np.uint16))
    shutil.copy(root / "down" / "00.tif", root / "across" / "copy.tif")
    artifacts = run(root, near_duplicate_bits=2)
    card = json.loads((artifacts.data_output("target") / "card.json").read_text())
    assert {each["path"] for each in card["dropped"]} == {"across/copy.tif", "down/00.tif"}
    assert card["near_duplicate_groups"] == []


@pytest.mark.parametrize("value", [[1], [1, 1], [2, 1], [0, 1, 2], [0, float("inf")], [float("nan"), 1]])
def test_a_range_is_two_numbers_the_lower_first(value):
    with pytest.raises(FieldError, match=r"(?s)range = .* the lower \(black\) first, such as \[-1000,1000\]"):
        Target(dataset=DataSetName.digits, range=value)


def table(**columns: list[object]) -> pd.DataFrame:
    return pd.DataFrame({"path": [f"{place}.png" for place in range(len(columns["high"]))], **columns})


@pytest.mark.parametrize(
    ("high", "white"), [(0, 255), (255, 255), (256, 1023), (1024, 4095), (4096, 16383), (16384, 65535)]
)
def test_white_is_the_highest_number_of_the_fewest_bits_that_hold_all(high, white):
    pictures = table(low=[0, 0], high=[0, high], integers=[True, True])
    assert ranges.range_of(pictures) == (0, white)


def test_8_bits_have_no_range():
    pictures = table(low=[np.nan], high=[np.nan], integers=[False])
    assert ranges.range_of(pictures) is None
    assert list(ranges.described(pictures, np.array(["train"]), None, "target.range")) == []


def test_what_holds_for_training_pictures_is_not_said_of_pictures_that_are_not_divided(tmp_path):
    root = write(tmp_path / "set", bits(10))
    (root / "empty").mkdir()
    with pytest.raises(UserError, match="class empty") as refusal:
        run(root)
    assert "trained on" not in str(refusal.value)


@pytest.mark.parametrize(
    "undefined",
    [
        [(Item("1.tif", "a", "test"), (-5000, -4000)), (Item("2.tif", "b", "test"), (-5000, 300))],
        [(Item("1.tif", "a"), (-7, -7)), (Item("2.tif", "b", "test"), (-5000, 300))],
        [(Item("1.tif", "a"), (-1000000.2, -1000000.1))],
    ],
    ids=["test pictures alone", "one value", "one value as it is written"],
)
def test_no_range_is_proposed_where_none_is_known(undefined):
    with pytest.raises(UserError, match=r"white: -S 'target\.range=\[BLACK,WHITE\]'\.$"):
        ranges.refuse(undefined, 2, "target.range")
