"""torchvision's data sets, from tiny folders in the layout torchvision expects."""

import json
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thawline.config.errors import UserError
from thawline.config.sections import DataSet, DataSetName, Role
from thawline.data import sources
from thawline.data.collection import Collection

OWN = ("cifar10", "cifar100", "dtd", "eurosat", "flowers102", "food101", "oxford_iiit_pet")


def collect(name: str, root: Path, download: bool = False, role: Role = Role.target) -> Collection:
    return sources.collect(DataSet(dataset=DataSetName[name], root=str(root), download=download), role, 0)


def write_cifar10(root: Path) -> None:
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
        data = random.integers(0, 256, (4, 3072), np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": data, "labels": [0, 1, 0, 1]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["airplane", "automobile"]}))


def write_images(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9), (number, 0, 0)).save(folder / name)


def write_eurosat(root: Path) -> None:
    write_images(root / "eurosat" / "2750", "Forest/F_1.jpg", "Forest/F_2.jpg", "River/R_1.jpg")


def write_pets(root: Path) -> None:
    base = root / "oxford-iiit-pet"
    write_images(base / "images", "Abyssinian_1.jpg", "Abyssinian_2.jpg", "beagle_1.jpg")
    (base / "annotations").mkdir()
    (base / "annotations" / "trainval.txt").write_text("Abyssinian_1 1 1 1\nbeagle_1 2 2 1\n")
    (base / "annotations" / "test.txt").write_text("Abyssinian_2 1 1 1\n")


def write_food(root: Path) -> None:
    base = root / "food-101"
    write_images(base / "images", "pizza/1.jpg", "pizza/2.jpg", "soup/1.jpg")
    (base / "meta").mkdir()
    (base / "meta" / "train.json").write_text(json.dumps({"soup": ["soup/1"], "pizza": ["pizza/1"]}))
    (base / "meta" / "test.json").write_text(json.dumps({"pizza": ["pizza/2"]}))


def write_dtd(root: Path) -> None:
    base = root / "dtd" / "dtd"
    write_images(base / "images", "banded/1.jpg", "lined/1.jpg", "lined/2.jpg")
    (base / "labels").mkdir()
    for split, lines in {
        "train1": "banded/1.jpg\nlined/1.jpg\n",
        "val1": "lined/2.jpg\n",
        "test1": "",
    }.items():
        (base / "labels" / f"{split}.txt").write_text(lines)


@pytest.fixture
def trusting(monkeypatch):
    """CIFAR's files are otherwise compared with the published checksums."""
    from torchvision.datasets import cifar

    monkeypatch.setattr(cifar, "check_integrity", lambda path, *_: Path(path).is_file())


@pytest.mark.parametrize(
    ("dataset", "write", "expected"),
    [
        ("eurosat", write_eurosat, {("Forest", ""): 2, ("River", ""): 1}),
        (
            "oxford_iiit_pet",
            write_pets,
            {("Abyssinian", "train"): 1, ("Beagle", "train"): 1, ("Abyssinian", "test"): 1},
        ),
        (
            "food101",
            write_food,
            {("pizza", "train"): 1, ("soup", "train"): 1, ("pizza", "test"): 1},
        ),
        ("dtd", write_dtd, {("banded", "train"): 1, ("lined", "train"): 1, ("lined", "val"): 1}),
        (
            "cifar10",
            write_cifar10,
            {
                ("airplane", "train"): 10,
                ("automobile", "train"): 10,
                ("airplane", "test"): 2,
                ("automobile", "test"): 2,
            },
        ),
    ],
)
@pytest.mark.usefixtures("trusting")
def test_their_labels_and_splits_are_kept(tmp_path, dataset, write, expected):
    write(tmp_path)
    target = collect(dataset, tmp_path)
    assert Counter((item.label, item.split) for item in target.items) == expected
    assert len({item.path for item in target.items}) == len(target.items)
    source = collect(dataset, tmp_path, role=Role.source)
    assert source.items == tuple(item for item in target.items if item.split != "test")


@pytest.mark.usefixtures("trusting")
def test_each_item_opens_its_own_picture(tmp_path):
    write_cifar10(tmp_path)
    collection = collect("cifar10", tmp_path)
    stored = pickle.loads((tmp_path / "cifar-10-batches-py" / "test_batch").read_bytes())["data"]
    last = np.asarray(collection.open(len(collection.items) - 1))
    np.testing.assert_array_equal(last, stored[-1].reshape(3, 32, 32).transpose(1, 2, 0))


@pytest.mark.parametrize("dataset", OWN)
def test_what_is_not_there_says_how_to_get_it(tmp_path, dataset):
    with pytest.raises(UserError, match=r"cannot be read from .*\n  Set download=true"):
        collect(dataset, tmp_path / "none")


def test_a_failed_download_says_why(tmp_path, monkeypatch):
    from torchvision.datasets import eurosat

    def offline(*_, **__):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(eurosat, "download_and_extract_archive", offline)
    with pytest.raises(UserError, match="EuroSAT cannot be read from .*: Network is unreachable"):
        collect("eurosat", tmp_path, download=True)


def test_class_names_are_unique():
    from torchvision.datasets import Flowers102

    assert len(set(Flowers102.classes)) == 102
