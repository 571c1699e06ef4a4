"""What the tables of docs/choosing_sources.md say of rows that were measured."""

import numpy as np
import pandas as pd
import pytest
from tests_benchmarks import loaded

sources = loaded("sources")


@pytest.fixture
def rows() -> pd.DataFrame:
    """Two seeds of one set: heads rank the sources as fine-tuning does, neighbours the other way round."""
    found = []
    for seed in (0, 1):
        for name, right, fine in (("a", 20, 0.7), ("b", 30, 0.8), ("c", 40, 0.9)):
            row = {"set": "rsscn7", "seed": seed, "source": name, "fine_tuned": fine}
            row |= {"accuracy": right / 50, "neighbours": 1 - right / 50, "log_me": fine, "h_score": 1.0}
            row |= {"leep": None if name == "c" else fine, "operations": 1e9 * right, "seconds": 0.1}
            correct = (np.arange(50) < right).astype(int).tolist()
            found.append(row | {"right": correct, "groups": list(range(50)), "solving": 0.5})
    return pd.DataFrame(found)


def test_ranks_and_regrets_are_those_of_each_score(rows: pd.DataFrame) -> None:
    told = sources.judged(rows).set_index("score")
    assert told.loc["solved head, left out", ["rank", "regret"]].tolist() == pytest.approx([1, 0])
    assert told.loc["5 nearest neighbours, left out", ["rank", "regret"]].tolist() == pytest.approx([-1, 20])
    assert told.loc["LEEP", "regret"] == pytest.approx(10)  # the best had no head
    assert np.isnan(told.loc["shrunk H-score", "rank"])  # all equal
    assert told.loc["… and within a point of it: the rule", "regret"] == pytest.approx(0)


def test_the_tables_have_a_row_for_each_score_and_source(rows: pd.DataFrame) -> None:
    text = sources.tables(rows)
    assert "| solved head, left out | – | – | +1.00; 0.0 | +1.00 | 0.0 |" in text
    assert "| c | – | – | 0.800 → 0.900 | 40.00 | 0.100 | 0.50 |" in text
