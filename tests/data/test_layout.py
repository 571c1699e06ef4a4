"""What folders mean: read where only one layout makes sense, refused with all that do where several do."""

import re
import shlex
import unicodedata
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from thawline.config.choices import Layout
from thawline.data.layout import choose, enter, read, readings
from thawline.data.layout_refusal import refusal, tree

ROOT = Path(__file__).resolve().parents[2]


def pictures(layout: str, each: int = 4) -> list[str]:
    """So many pictures in each of the folders; what ends like a picture is one."""
    names = []
    for place in layout.split():
        names += [place] if place.endswith(".jpg") else [f"{place}/{number}.jpg" for number in range(each)]
    return names


def seen(folders: str) -> str:
    """The layout, the pictures in each class and, behind a semicolon, in each split; `-` is none."""
    names = pictures(folders)
    above = enter(names)
    reading = choose([name.removeprefix(above) for name in names])
    assert reading is not None
    classes, splits = (
        " ".join(f"{name or '-'} {count}" for name, count in counts.items())
        for counts in (reading.classes, reading.splits)
    )
    return f"{reading.layout.name}: {classes}; {splits}"


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        ("ant bee", "class_folders: ant 4 bee 4; - 8"),
        ("set/ant set/bee", "class_folders: ant 4 bee 4; - 8"),
        ("cat/patient1 cat/patient2 dog/patient3", "class_folders: cat 8 dog 4; - 12"),
        ("cat/2019/may cat/2020/june dog/2021/may", "class_folders: cat 8 dog 4; - 12"),
        ("cat cat/kittens dog", "class_folders: cat 8 dog 4; - 12"),
        ("cat/images dog/images", "class_folders: cat 4 dog 4; - 8"),
        ("0/plane 1/bird", "class_folders: 0 4 1 4; - 8"),
        ("ant/ant bee/bee", "class_folders: ant 4 bee 4; - 8"),
        ("freight_train bullet_train", "class_folders: freight_train 4 bullet_train 4; - 8"),
        ("train plane", "class_folders: train 4 plane 4; - 8"),
        ("Training/a Training/b Testing/a", "split_folders: a 8 b 4; train 8 test 4"),
        ("training_set/a training_set/b test_set/b", "split_folders: a 4 b 8; train 8 test 4"),
        ("seg_train/a seg_train/b seg_test/b", "split_folders: a 4 b 8; train 8 test 4"),
        ("train/a train/b eval/a", "split_folders: a 8 b 4; train 8 test 4"),
        ("train/a train/b dev/a", "split_folders: a 8 b 4; train 8 val 4"),
        ("train/a train/b", "split_folders: a 4 b 4; train 8"),
        ("train/a train/b test", "split_folders: a 4 b 4; train 8"),
        ("x/y/train/a x/y/train/b x/y/val/a", "split_folders: a 8 b 4; train 8 val 4"),
        ("train/train/a train/train/b test/test/a", "split_folders: a 8 b 4; train 8 test 4"),
        ("train/images/a train/images/b val/images/a", "split_folders: a 8 b 4; train 8 val 4"),
        (
            "s_train/s_train/a s_train/s_train/b s_test/s_test/a s_pred/s_pred",
            "split_folders: a 8 b 4; train 8 test 4",
        ),
        ("train/photo train/drawing test/photo", "split_folders: photo 8 drawing 4; train 8 test 4"),
        ("train/a/p1 train/b/p2 test/a/p3", "split_folders: a 8 b 4; train 8 test 4"),
        ("a/train a/test b/train b/test", "splits_in_classes: a 8 b 8; train 8 test 8"),
    ],
)
def test_layouts_that_make_sense_in_one_way_are_read(folders, expected):
    assert seen(folders) == expected


@pytest.mark.parametrize(
    ("folders", "ways"),
    [
        ("a/airfield a/alley b/bakery b/beach", "class_folders innermost_folders"),
        ("fold_0/all fold_0/hem fold_1/all fold_1/hem", "class_folders innermost_folders"),
        ("original/leaf original/rust augmented/leaf augmented/rust", "class_folders innermost_folders"),
        ("benign/40X benign/100X malignant/40X malignant/100X", "class_folders innermost_folders"),
        ("cat/images cat/masks dog/images dog/masks", "class_folders innermost_folders"),
        ("cats/siamese cats/persian dogs/poodle dogs/terrier", "class_folders innermost_folders"),
        ("train/a train/b more/a more/b", "class_folders split_folders innermost_folders"),
        ("train/a/airfield train/b/bakery train/b/beach val/a/airfield", "split_folders innermost_folders"),
        ("images/cat images/dog preview", "class_folders innermost_folders"),
        ("train/cat.1.jpg train/cat.2.jpg train/dog.1.jpg train/dog.2.jpg test1/7.jpg", "file_names"),
        ("cat_1.jpg cat_2.jpg dog_1.jpg dog_2.jpg", "file_names"),
        ("pets/shiba_inu_1.jpg pets/shiba_inu_2.jpg pets/Bengal_1.jpg pets/Bengal_22.jpg", "file_names"),
        ("trainA trainB testA testB", "class_folders"),
        ("train_cats train_dogs test_cats test_dogs", "class_folders"),
        ("cats-train cats-val dogs-train dogs-val", "class_folders"),
        ("train/images val/images", ""),
        ("test/a test/b", ""),
        ("1.jpg 2.jpg 3.jpg cat", ""),
    ],
)
def test_what_makes_sense_in_several_ways_or_in_none_is_not_guessed(folders, ways):
    names = pictures(folders)
    names = [name.removeprefix(enter(names)) for name in names]
    if folders.startswith(("1.jpg",)):
        names = names[:3]
    assert choose(names) is None
    assert [reading.layout.name for reading in readings(names)] == ways.split()


def test_the_settings_that_a_refusal_names_are_read_without_another_one():
    names = pictures("train/a train/b more/a more/b")
    message = refusal(names, Path("/photos"), Path("/photos"), "target", Layout.auto)
    assert message.splitlines()[:9] == [
        "the folders in /photos could mean several things.",
        "  There is:",
        "    more/: 8 pictures",
        "      a/: 4 pictures",
        "      b/: 4 pictures",
        "    train/: 8 pictures",
        "      a/: 4 pictures",
        "      b/: 4 pictures",
        "  Add what is right to the command:",
    ]
    settings = [line.split()[1] for line in message.splitlines() if line.lstrip().startswith("-S ")]
    assert len(settings) == 3
    for setting in settings:
        assert setting.startswith("target.layout=")
        reading = read(names, Layout[setting.partition("=")[2]])
        assert reading.is_usable()
        words = ", ".join(f"{label} ({count})" for label, count in sorted(reading.classes.items()))
        assert words in message


@pytest.mark.parametrize("name", ["photos", "p q", "it's", "a,b=[1]", "$HOME", "a\\b"])
def test_a_folder_that_makes_sense_by_itself_is_offered_as_shell_and_hydra_read_it(tmp_path, name):
    root = tmp_path / name
    (root / "images").mkdir(parents=True)
    names = pictures("images/cat images/dog preview")
    message = refusal(names, root, root, "source", Layout.auto)
    setting, words = re.findall(r"-S (.*source\.root=.*)\n +(.*)", message)[0]
    assert words == "nothing but this folder: cat (4), dog (4)"
    (given,) = shlex.split(setting)
    assert OverridesParser.create().parse_override(given).value() == str(root / "images")


def test_a_folder_that_is_not_there_by_its_name_is_not_offered(tmp_path):
    (tmp_path / unicodedata.normalize("NFD", "höhe")).mkdir()
    names = pictures("höhe/cat höhe/dog preview")
    assert "root=" not in refusal(names, tmp_path, tmp_path, "source", Layout.auto)
    assert "root=" not in refusal(names, Path("/photos.zip"), None, "source", Layout.auto)


def test_splits_and_what_is_left_out_are_said():
    names = pictures(
        "train/cat.1.jpg train/cat.2.jpg train/dog.1.jpg train/dog.2.jpg test/7.jpg test/cat_9.jpg"
    )
    message = refusal(names, Path("/photos"), Path("/photos"), "target", Layout.auto)
    assert ": cat (3), dog (2); 1 test, 4 train; 1 picture left out\n" in message


def test_the_tree_is_cut():
    assert tree(pictures(" ".join(f"c{number}" for number in range(9)), 1)) == [
        *(f"c{number}/: 1 picture" for number in range(6)),
        "and 3 more",
    ]


@given(
    st.lists(
        st.lists(st.sampled_from(["train", "test", "a", "b", "images", "p1"]), min_size=1, max_size=4).map(
            lambda parts: "/".join([*parts, "1.jpg"])
        ),
        min_size=1,
        max_size=12,
        unique=True,
    ),
    st.sampled_from([layout for layout in Layout if layout is not Layout.auto]),
)
def test_every_picture_is_read_or_left_out_and_order_does_not_matter(names, layout):
    reading = read(names, layout)
    assert {*reading.places, *reading.left_out} == set(names)
    assert not reading.places.keys() & set(reading.left_out)
    assert read(names[::-1], layout).places == reading.places
    chosen, other = choose(names), choose(names[::-1])
    assert (chosen and chosen.places) == (other and other.places)
