"""Builders go through the whole pipeline, not through cuts alone."""

from pathlib import Path
from types import ModuleType

import pytest
from tests_benchmarks import ROOT, loaded

from thawline.artifacts import read_json
from thawline.models.zoo import architectures

FAMILIES = (
    *("mnasnet0_5", "mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1", "efficientnet_b0"),
    *("mobilenet_v2", "regnet_y_400mf"),
)
"""Of families that have some of a few million weights (ResNets are the README's):
`python benchmarks/builders.py` takes all builders."""


@pytest.fixture(scope="module")
def builders() -> ModuleType:
    return loaded("builders")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("builders")


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_the_smallest_of_a_family_goes_through_the_whole_pipeline(
    name: str, builders: ModuleType, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    row = builders.row_of(name, place)
    assert "error" not in row
    assert row["steps"] == list(builders.STEPS)


def test_a_step_that_fails_is_what_the_row_says(
    builders: ModuleType, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def through(*_: object):
        yield "pretrain", lambda: None
        yield "replace_head", lambda: {}["version"]

    monkeypatch.setattr(builders, "through", through)
    row = builders.row_of("mnasnet0_5", place)
    assert (row["steps"], row["error"]) == (["pretrain"], "replace_head: KeyError: 'version'")


def test_what_needs_more_memory_than_there_is_is_not_tried(
    builders: ModuleType, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builders, "COPIES", 10**9)
    assert builders.row_of("vit_h_14", place)["error"].startswith("not tried: it needs ")


def test_the_table_says_what_became_of_builders_and_which_are_missing(builders: ModuleType) -> None:
    row = {"builder": "vgg11", "side": 32, "weights": 132863336, "steps": list(builders.STEPS)}
    lines = builders.page([row]).splitlines()
    assert "| vgg11 | 32 | 132.9 | all six steps |" in lines
    assert lines[-1].startswith(f"Not run yet ({len(architectures()) - 1}): alexnet, ")
    assert "| vgg11 | 32 | 132.9 | export: KeyError |" in builders.page([row | {"error": "export: KeyError"}])


def test_what_ran_to_its_end_went_through_every_step(builders: ModuleType) -> None:
    rows = read_json(ROOT / "benchmarks" / "results" / "builders.json")
    assert all(row["steps"] == list(builders.STEPS) for row in rows if "error" not in row)


def test_every_builder_has_a_size(builders: ModuleType) -> None:
    assert all(builders.weights(name) > 100_000 for name in architectures())


def test_toy_pictures_have_a_class_each(builders: ModuleType, tmp_path: Path) -> None:
    builders.toy_pictures(tmp_path, 3)
    assert {folder.name: len(list(folder.iterdir())) for folder in tmp_path.iterdir()} == {
        "across": 3,
        "down": 3,
    }
