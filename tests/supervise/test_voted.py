"""What is said of voters."""

import numpy as np

from thawline.data.votes import Votes
from thawline.supervise.voted import voted


def test_a_voter_who_is_alone_is_compared_with_nobody() -> None:
    labels = np.tile([0, 1], 20)
    alone = Votes(("wide()",), labels[:, None], np.arange(40) >= 30)
    found = voted(alone, labels, 2, np.zeros(40, bool))
    assert found.sentences == (
        "1 voter says what 30 pictures without a label show (Dawid and Skene); the labels of 10 pictures "
        "stay as they are.",
        "By majority none of these pictures would be taught as another class.",
    )
