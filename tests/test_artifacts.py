"""Files are written whole or not at all."""

from pathlib import Path

import pandas as pd
import pytest

from thawline.artifacts import atomic_path, fingerprint, read_json, write_json, write_table, write_text
from thawline.config.errors import UserError


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_equal_values_give_equal_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "a", {"x": 1, "y": [2]})
    write_json(tmp_path / "b", {"y": [2], "x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert fingerprint({"x": 1, "y": 2}) == fingerprint({"y": 2, "x": 1}) != fingerprint({"x": 1})


def test_a_table_is_the_same_bytes_on_every_system(tmp_path: Path) -> None:
    table = pd.DataFrame({"name": ["ä", "b"], "share": [1 / 3, None]}, index=[7, 8])
    write_table(tmp_path / "all.csv", table)
    assert (tmp_path / "all.csv").read_bytes() == f"name,share\nä,{1 / 3}\nb,\n".encode()
    write_table(tmp_path / "short.csv", table, float_format="%.3f")
    assert (tmp_path / "short.csv").read_text(encoding="utf-8") == "name,share\nä,0.333\nb,\n"


def test_a_missing_file_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"recipe\.json does not exist.\n.*dvc repro"):
        read_json(tmp_path / "artifacts" / "recipe.json")
    # no pipeline makes what was kept elsewhere
    with pytest.raises(UserError, match=r"does not exist.\n.*Copy the whole folder"):
        read_json(tmp_path / "fits" / "leaves" / "model" / "card.json")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text("{")
    with pytest.raises(UserError, match=r"recipe\.json is not valid JSON"):
        read_json(tmp_path / "recipe.json")
