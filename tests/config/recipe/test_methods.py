"""Every method's row agrees with its code, its fields and its preset."""

import importlib
from dataclasses import fields
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from thawline.config.recipe.methods import Method, MethodFields

CONF = Path(__file__).resolve().parents[3] / "conf"
METHODS = pytest.mark.parametrize("method", Method)


@METHODS
def test_a_method_has_a_module_that_says_what_learns_and_adds_what_it_adds(method: Method) -> None:
    module = importlib.import_module(method.module)
    assert callable(module.learning)
    assert hasattr(module, "add") == method.row.adds


@METHODS
def test_a_method_has_a_preset_of_its_name(method: Method) -> None:
    preset = OmegaConf.load(CONF / "finetune" / f"{method.name}.yaml")
    assert preset.get("method", "full") == method.name
    plain = OmegaConf.load(CONF / "config.yaml").finetune
    assert all(name in preset or name in plain for name in method.row.fields)


def test_every_field_of_single_methods_belongs_to_one() -> None:
    owned = {name for method in Method for name in method.row.fields}
    assert owned == {each.name for each in fields(MethodFields)}


@METHODS
def test_only_what_adds_something_is_told_fields(method: Method) -> None:
    """A field that nothing reads would be searched and shown, and do nothing."""
    assert method.row.adds or not method.row.fields
