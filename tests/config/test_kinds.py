"""Values and types in the words that people type and read."""

import pytest

from thawline.config.composition import to_config
from thawline.config.errors import ConfigError
from thawline.config.kinds import typed


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (True, "true"), (False, "false"), (0.5, "0.5"), (3, "3"), ("a b", "a b")],
)
def test_a_value_is_shown_as_it_is_typed(value: object, text: str) -> None:
    assert typed(value) == text


def test_null_is_among_what_an_optional_choice_may_be() -> None:
    with pytest.raises(ConfigError, match=r"source\.dataset = 'None' is not allowed\.(?s:.*)allowed: .*null"):
        to_config({"source": {"dataset": "None"}})
    with pytest.raises(
        ConfigError, match=r"target\.layout = 'folders' is not allowed\.\n  nearest: \w+_folders\n"
    ):
        to_config({"target": {"layout": "folders"}})
