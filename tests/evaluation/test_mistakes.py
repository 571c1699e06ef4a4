"""Test pictures that were taken for something else are kept with what the network looked at."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import write_toy_store
from PIL import Image

from thawline.artifacts import read_json
from thawline.data.store import Store
from thawline.evaluation.mistakes import write_mistakes
from thawline.evaluation.tables import Predicted
from thawline.models.zoo import build

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def test(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Six pictures, `across` and `down` in turn."""
    return write_toy_store(tmp_path_factory.mktemp("test"), {"test": 3})


def answers(seed: int, *shares_of_down: float) -> Predicted:
    down = np.array(shares_of_down)
    return Predicted("finetuned", seed, np.stack([1 - down, down], 1))


MODELS = [answers(0, 0.1, 0.9, 0.9, 0.9, 0.1, 0.2), answers(1, 0.2, 0.9, 0.7, 0.9, 0.6, 0.9)]
"""Number 2 is wrong by both seeds, 4 and 5 by one."""


def written(folder: Path, test: Store, models: list[Predicted], name: str = "tests_networks.Small") -> Any:
    write_mistakes(folder, test, models, build(name, 2, seed=0), [0, 1], CPU)
    return read_json(folder / "mistakes.json")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory, test: Store) -> Path:
    """The folder with what `MODELS` took for something else."""
    folder = tmp_path_factory.mktemp("shown") / "pictures"
    written(folder, test, MODELS)
    return folder


def test_each_wrong_picture_is_below_what_it_was_taken_for(shown: Path) -> None:
    told = read_json(shown / "mistakes.json")
    cells = {(cell["label"], cell["predicted"]): cell for cell in told["cells"]}
    assert cells.keys() == {("across", "down"), ("down", "across")}
    first, second = cells["across", "down"]["shown"]
    assert (first["path"], first["seeds"], first["confidence"]) == ("test/2.png", 2, 0.8)
    assert (second["path"], second["seeds"], second["confidence"]) == ("test/4.png", 1, 0.35)
    assert told["seeds"] == 2


def test_the_worst_of_each_class_have_a_map_as_large_as_they_are(shown: Path) -> None:
    told = read_json(shown / "mistakes.json")
    assert [entry["path"] for entry in told["worst"]] == ["test/2.png", "test/4.png", "test/5.png"]
    assert told["map_after"] == "blocks.1"
    for entry in told["worst"]:
        with Image.open(shown / entry["map"]) as overlay:
            assert (overlay.mode, overlay.width) == ("RGBA", overlay.height)
    named = {entry[key] for entry in told["worst"] for key in ("thumbnail", "map")}
    assert {path.name for path in shown.iterdir()} == named | {"mistakes.json"}


def test_the_map_is_that_of_the_class_in_the_networks_own_order(
    tmp_path: Path, test: Store, shown: Path
) -> None:
    write_mistakes(tmp_path, test, MODELS, build("tests_networks.Small", 2, seed=0), [1, 0], CPU)
    assert (tmp_path / "2-1.webp").read_bytes() != (shown / "2-1.webp").read_bytes()


def test_without_mistakes_there_is_nothing_to_show(tmp_path: Path, test: Store) -> None:
    told = written(tmp_path / "pictures", test, [answers(0, 0.1, 0.9, 0.1, 0.9, 0.1, 0.9)])
    assert (told["cells"], told["worst"]) == ([], [])


def test_a_network_without_rows_and_columns_shows_no_map(tmp_path: Path, test: Store) -> None:
    told = written(tmp_path / "pictures", test, MODELS, "tests_networks.ReZero")
    assert told["map_after"] is None
    assert {entry["map"] for entry in told["worst"]} == {None}
