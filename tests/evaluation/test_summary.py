"""What metrics.json is made of."""

import pandas as pd

from thawline.evaluation.summary import groups_of


def test_pictures_without_a_group_are_resampled_on_their_own() -> None:
    manifest = pd.DataFrame({"path": ["a", "b", "c", "d"], "group": ["leaf", "", "leaf", ""]})
    assert groups_of(manifest) == ["leaf", "b", "leaf", "d"]
