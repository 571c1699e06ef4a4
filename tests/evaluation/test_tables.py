"""The tables say what was predicted, in equal bytes for equal predictions, and survive odd labels."""

import csv
from pathlib import Path

import numpy as np
import pytest

from thawline.artifacts import write_table
from thawline.evaluation.tables import (
    Predicted,
    Truth,
    calibration_table,
    confusion_table,
    per_class_table,
    predictions_table,
    read_table,
    write_tables,
)

TRUTH = Truth(["a.png", "b,c.png", "d.png"], ["", "7", "NA"], np.array([0, 1, 1]), ("7", "NA"))
RIGHT = np.array([[0.75, 0.25], [0.1, 0.9], [0.2, 0.8]])
WRONG = np.array([[0.25, 0.75], [0.1, 0.9], [0.8, 0.2]])
MODELS = [Predicted("finetuned", 0, RIGHT), Predicted("finetuned", 4, WRONG), Predicted("other", 0, RIGHT)]


def test_predictions_have_a_row_per_picture_and_model() -> None:
    table = predictions_table(TRUTH, MODELS)
    columns = ["path", "group", "label", "contender", "seed", "predicted", "correct", "confidence"]
    assert list(table.columns) == [*columns, "p_7", "p_NA"]
    assert len(table) == 9
    assert table.iloc[3].tolist() == ["a.png", "", "7", "finetuned", 4, "NA", 0, 0.75, 0.25, 0.75]


def test_labels_and_paths_survive_the_file(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    write_table(path, predictions_table(TRUTH, MODELS), "%.6f")
    table = read_table(path)
    assert table["label"].tolist() == ["7", "NA", "NA"] * 3
    assert table["path"].tolist() == list(TRUTH.paths) * 3
    assert table["group"].tolist() == list(TRUTH.groups) * 3
    assert table["correct"].dtype.kind == "i"


def test_names_with_ends_of_lines_survive_the_files(tmp_path: Path) -> None:
    # folders made from a list that Windows wrote are called so
    names = ("oak\r", "elm\r\n")
    odd = Truth(["oak\r/1.png", "elm\r\n/2.png", "a\n.png"], [""] * 3, TRUTH.labels, names)
    write_tables(tmp_path, odd, MODELS, bins=7)
    assert read_table(tmp_path / "predictions.csv")["path"].tolist() == [*odd.paths] * 3
    assert read_table(tmp_path / "confusion.csv")["label"].tolist() == [names[0], names[1], names[1]] * 2
    scores = read_table(tmp_path / "per_class.csv")
    assert scores["label"].tolist() == [*names] * 2
    assert scores["recall"].tolist() == [0.5, 0.75, 1.0, 1.0]
    with (tmp_path / "predictions.csv").open(newline="") as file:
        assert [row[0] for row in csv.reader(file)][1:] == [*odd.paths] * 3


def test_undefined_scores_survive_the_file(tmp_path: Path) -> None:
    never = Predicted("finetuned", 0, np.array([[0.9, 0.1]] * 3))
    write_table(tmp_path / "per_class.csv", per_class_table(TRUTH, [never]), "%.6f")
    assert np.isnan(read_table(tmp_path / "per_class.csv")["precision"][1])


def test_equal_predictions_give_equal_bytes(tmp_path: Path) -> None:
    noise = 1e-12
    for folder, extra in (("first", 0.0), ("second", noise)):
        models = [Predicted(m.contender, m.seed, m.probabilities + extra) for m in MODELS]
        write_tables(tmp_path / folder, TRUTH, models, bins=7)
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert names == ["calibration.csv", "confusion.csv", "per_class.csv", "predictions.csv"]
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_scores_of_a_class_are_averaged_over_seeds() -> None:
    table = per_class_table(TRUTH, MODELS)
    first = table[(table["contender"] == "finetuned") & (table["label"] == "NA")].iloc[0]
    assert first["support"] == 2
    assert first["recall"] == pytest.approx((1 + 0.5) / 2)


def test_confusion_counts_one_row_per_picture_and_seed_of_one_contender() -> None:
    table = confusion_table(TRUTH, MODELS, "finetuned")
    assert len(table) == 6
    assert len(table[(table["label"] == "NA") & (table["predicted"] == "7")]) == 1


def test_calibration_pools_the_seeds_of_each_contender() -> None:
    table = calibration_table(TRUTH, MODELS, bins=10)
    assert table.groupby("contender")["count"].sum().to_dict() == {"finetuned": 6, "other": 3}
