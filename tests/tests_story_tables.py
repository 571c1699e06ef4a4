"""Tables of a made-up pipeline, as its stages write them."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from thawline.choose_source.decision import COLUMNS as SOURCES
from thawline.depth_curve import COLUMNS

UNITS = (
    "conv1",
    "layer1.0",
    "layer1.1",
    "layer2.0",
    "layer2.1",
    "layer3.0",
    "layer3.1",
    "layer4.0",
    "layer4.1",
)
_TRIALS = ("number", "state", "value", "val_loss", "depth", "unit", "head_lr", "body_lr", "epochs", "seconds")
_FRONT = ("trial", "depth", "unit", "head_lr", "body_lr", "val_accuracy", "training_flops", "seconds")


def trials(name: str, count: int, best: int, generator: np.random.Generator) -> pd.DataFrame:
    """Trials of a contender, of which those with `best` frozen units do best; only a header where there are
    none."""
    rows = []
    for number in range(count):
        fixed = {"linear_probe": len(UNITS), "from_scratch": 0}.get(name)
        depth = int(generator.integers(0, len(UNITS) + 1)) if fixed is None else fixed
        head, body = 10 ** generator.uniform(-4, -1), 10 ** generator.uniform(-5, -2)
        whole = name == "finetuned" and depth < len(UNITS)
        value = 0.95 - 0.004 * (depth - best) ** 2 - 0.03 * (np.log10(head) + 2.5) ** 2
        value -= 0.03 * (np.log10(body) + 3) ** 2 if whole else 0
        state = "failed" if number == 5 else "pruned" if value < 0.85 else "complete"
        value = round(float(np.clip(value + generator.normal(0, 0.01), 0, 1)) * 200) / 200
        rows.append(
            [number, state, None if state == "failed" else value, 1 - value, depth,
             UNITS[depth - 1] if depth else None, head, body if whole else None, 30, 3.0]
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(_TRIALS))


def times(table: pd.DataFrame) -> pd.DataFrame:
    """The trials with when they ran: two side by side, and a night in the middle."""
    order = np.arange(len(table))
    begin = 1.7e9 + 3.0 * (order // 2) + 40_000.0 * (order >= len(table) // 2)
    return table.assign(started=begin, finished=begin + 3.0 - 0.5 * (order % 2))


def operations(table: pd.DataFrame) -> pd.DataFrame:
    """The trials of a search with two objectives."""
    return table.assign(training_flops=1e11 * (len(UNITS) + 1 - table["depth"]))


def front(table: pd.DataFrame) -> pd.DataFrame:
    """The complete trials that no other one beats in both accuracy and operations."""
    complete = table[table["state"] == "complete"].sort_values(
        ["training_flops", "value"], ascending=[True, False]
    )
    best = complete[complete["value"] > complete["value"].cummax().shift(fill_value=0)]
    return best.rename(columns={"number": "trial", "value": "val_accuracy"})[list(_FRONT)]


def history(generator: np.random.Generator, seeds: Iterable[int], skill: float) -> pd.DataFrame:
    """Twelve epochs of each seed."""
    rows = []
    for seed in seeds:
        for epoch in range(12):
            loss = 2.3 * np.exp(-epoch * skill / 10) + 0.02
            accuracy = min(1.0, 1 - loss / 2.6 + generator.normal(0, 0.01))
            rows.append([seed, epoch, loss * 0.8, loss + 0.05, accuracy, 0.7])
    columns = ["seed", "epoch", "train_loss", "val_loss", "val_accuracy", "seconds"]
    return pd.DataFrame(rows, columns=columns)


def curve(best: int, tested: bool) -> pd.DataFrame:
    """depth_curve.csv as the stage `evaluate` writes it."""
    depths = np.arange(len(UNITS) + 1)
    val = 0.95 - 0.002 * np.maximum(0, depths - best) ** 2
    top = int(val.argmax())
    table = pd.DataFrame({"depth": depths, "unit": [None, *UNITS], "n_seeds": 5})
    for name, mean in (
        ("val", val),
        ("test", val - 0.02 if tested else np.full(len(val), np.nan)),
        ("minus_full", val - val[0]),
        ("minus_probe", val - val[-1]),
        ("minus_best", val - val[top]),
    ):
        half = np.where(depths == top, 0, 0.02) if name == "minus_best" else 0.02
        table = table.assign(
            **{f"{name}_mean": mean, f"{name}_low": mean - half, f"{name}_high": mean + half}
        )
    more = {"seconds": 9 - 0.7 * depths, "trainable_parameters": 11_000_000 // (depths + 1)}
    return table.assign(**more)[list(COLUMNS)]


def cuts(chosen: str) -> pd.DataFrame:
    """As the search writes it: single cuts, of which the fifth tells most, then sets of them."""
    accuracies = {"1": 0.55, "3": 0.71, "5": 0.83, "7": 0.8, "9": 0.78, "5 7 9": 0.87}
    rows = [
        {"cuts": each, "unit": UNITS[int(each[-1]) - 1], "accuracy": value, "loss": 1 - value}
        for each, value in accuracies.items()
    ]
    return pd.DataFrame(rows).assign(pictures=240, chosen=[each == chosen for each in accuracies])


def sources() -> pd.DataFrame:
    """sources.csv as the stage `choose_source` writes it: the chosen one is the second best."""
    rows = {
        "source": ["timm:tf_efficientnet_lite0=efficientnet-lite0", "mobilenet_v2=body.pth", "resnet18"],
        "chosen": [False, True, False],
        "alike": [True, True, False],
        "pictures": 200,
        "accuracy": [0.84, 0.835, 0.6],
        "minus_best": [0.0, -0.005, -0.24],
        "low": [0.0, -0.045, -0.3],
        "high": [0.0, 0.035, -0.18],
        "neighbours": [0.8, 0.81, 0.58],
        "operations": [7.7e8, 6.0e8, 3.6e9],
        "seconds": [0.021, 0.012, 0.04],
    }
    return pd.DataFrame(rows).reindex(columns=SOURCES)
