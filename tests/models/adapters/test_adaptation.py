"""What the card of an adapted model says."""

import json

import pytest

from thawline.config.sections import Finetune, Method
from thawline.models.adapters.adaptation import Adaptation, adaptation_of


@pytest.mark.parametrize("method", [Method.full, Method.bias, Method.norm])
def test_methods_that_train_what_is_there_add_nothing(method):
    assert adaptation_of(Finetune(method=method), [0]) is None


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (Method.scale_shift, {}),
        (Method.lora, {"lora_rank": 7, "lora_scale": 0.5}),
        (Method.adapter, {"adapter_width": 9}),
        (Method.prompt, {"prompt_tokens": 3, "prompt_deep": False}),
    ],
)
def test_an_adaptation_is_what_the_method_reads_of_the_recipe(method, settings):
    recipe = Finetune(
        method=method, lora_rank=7, lora_scale=0.5, adapter_width=9, prompt_tokens=3, prompt_deep=False
    )
    found = adaptation_of(recipe, {3, 1})
    assert found is not None
    assert found.to_dict() == {"method": method.name, "frozen": [1, 3], **settings}
    assert Adaptation.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@pytest.mark.parametrize(
    "damage",
    [
        lambda value: value.pop("frozen"),
        lambda value: value.update(method="magic"),
        lambda value: value.update(adapter_width=4),
    ],
)
def test_a_damaged_one_is_refused(damage):
    value = Adaptation(Method.lora, (0,), {"lora_rank": 4, "lora_scale": 2.0}).to_dict()
    damage(value)
    with pytest.raises((ValueError, KeyError)):
        Adaptation.from_dict(value)
