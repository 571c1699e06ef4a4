"""Types in the words that people read."""

import pytest

from thawline.config.composition import to_config
from thawline.config.errors import ConfigError


def test_null_is_among_what_an_optional_choice_may_be() -> None:
    with pytest.raises(ConfigError, match=r"source\.dataset = 'None' is not allowed\.(?s:.*)allowed: .*null"):
        to_config({"source": {"dataset": "None"}})
    with pytest.raises(
        ConfigError, match=r"target\.layout = 'folders' is not allowed\.\n  nearest: \w+_folders\n"
    ):
        to_config({"target": {"layout": "folders"}})
