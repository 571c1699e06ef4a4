"""Pictures to divide, and what came of it."""

import numpy as np
import pandas as pd

from thawline.config.sections import DataSet, DataSetName, Role
from thawline.data.problems import said, worst_first
from thawline.data.split import split

FAR = np.random.default_rng(0).integers(0, 2**64, 4096, np.uint64)


def table(rows: list[dict]) -> pd.DataFrame:
    """Pictures that look nothing like each other unless a row says so."""
    usual = [
        {"path": f"{i}", "split": "", "group": "", "content_hash": f"{i}", "perceptual_hash": FAR[i]}
        for i in range(len(rows))
    ]
    return pd.DataFrame([{**filled, **row} for filled, row in zip(usual, rows, strict=True)])


def labelled(**counts: int) -> list[dict]:
    return [{"label": label} for label, count in counts.items() for _ in range(count)]


def options(**fields) -> DataSet:
    return DataSet(dataset=DataSetName.image_folder, root=".", **fields)


def found_wrong(pictures: pd.DataFrame, wanted: DataSet, role: Role = Role.target, **more) -> list[str]:
    """What is wrong and with what, worst first, and the ways out behind arrows."""
    problems = worst_first(split(pictures, wanted, role, 0, **more).problems)
    return [f"{said(each)} -> {each.way_out}" if each.way_out else said(each) for each in problems]


def counts(pictures: pd.DataFrame, names: np.ndarray) -> dict[str, tuple[int, ...]]:
    """Return how many pictures of each class are in each split that has any."""
    labels = sorted(set(pictures["label"]))
    found = {
        name or "left out": tuple(sum((pictures["label"] == label) & (names == name)) for label in labels)
        for name in ("train", "val", "test", "")
    }
    return {name: of for name, of in found.items() if any(of)}
