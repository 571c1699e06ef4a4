"""What is written down, and how."""

from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests_tracking import a_run

from thawline.config.sections import Finetune
from thawline.tracking import view
from thawline.tracking.text import flatten
from thawline.training.recipe import tracked


class Colour(Enum):
    red = "red"


def test_values_are_written_as_yaml_would_write_them():
    values = {"a": None, "b": {"c": True, "d": [1, None]}, "e": Colour.red, "f": {}, "g": 1e-05, "h": ""}
    assert flatten(values) == {
        "a": "null",
        "b.c": "true",
        "b.d": "[1, null]",
        "e": "red",
        "f": "{}",
        "g": "1e-05",
        "h": "",
    }


@pytest.mark.usefixtures("experiment")
def test_a_long_value_is_shortened_visibly(client):
    with a_run(parameters={"classes": "x" * 10_000}) as run:
        pass
    stored = client.get_run(run.id).data.params["classes"]
    assert stored.startswith("xxx")
    assert stored.endswith("… (10000 characters)")


names = st.text("abc_", min_size=1, max_size=3)


@given(st.dictionaries(names, st.integers() | st.dictionaries(names, st.integers(), min_size=1)))
def test_flattening_keeps_every_value_under_its_path(values):
    flat = flatten(values)
    nested = {(k, j): v for k, inner in values.items() if isinstance(inner, dict) for j, v in inner.items()}
    plain = {(k,): v for k, v in values.items() if not isinstance(v, dict)}
    assert flat == {".".join(path): str(value) for path, value in (nested | plain).items()}


def test_the_saved_view_shows_what_every_recipe_is_recorded_with() -> None:
    recorded = tracked(Finetune(), depth=0, unit=None)
    assert set(view.PARAMETERS) <= set(recorded)
    assert {"method", "phases", "depth", "head_lr", "body_lr"} <= set(view.PARAMETERS)
