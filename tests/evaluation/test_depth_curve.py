"""What the depth curve's models are worth on the test pictures is added; the recommendation stays."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import write_toy_artifacts
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_studies import at_depth

from thawline.artifacts import CARD, MODEL, Artifacts, card_beside, depth_models, seed_weights, write_json
from thawline.config.errors import UserError
from thawline.config.sections import Config, Evaluate
from thawline.data.store import open_store
from thawline.depth_curve import COLUMNS, read_curve, write_curve
from thawline.evaluation.asking import Asking
from thawline.evaluation.depth_curve import with_test, write_depth_curve
from thawline.models.checkpoint import build_random, load_model, save_model
from thawline.models.inference import probabilities
from thawline.search.results.curve import depth_curve
from thawline.training.batches import batches

CONFIG = Config(evaluate=Evaluate(resamples=60, batch_size=7))
CPU = torch.device("cpu")
RECOMMENDED = {"depth": 3, "unit": "blocks.1", "reason": "…", "indistinguishable_depths": [0, 3]}
DEPTHS, SEEDS = (0, 3), 2


@pytest.fixture
def searched(tmp_path: Path) -> Artifacts:
    """Artifacts as after a search: a curve of two depths with the models of two seeds each."""
    artifacts = write_toy_artifacts(tmp_path)
    initial = artifacts.stage("replace_head")
    card = load_model(initial / MODEL, initial / CARD)[1]
    evidence = artifacts.stage_output("search", "finetuned") / "evidence"
    for depth in DEPTHS:
        for seed in range(SEEDS):
            weights = depth_models(evidence, depth) / seed_weights(seed)
            network = build_random(card, seed=10 * depth + seed)
            save_model(weights, card_beside(weights), network, card, base=initial / MODEL)
    points = [at_depth(depth, np.ones((SEEDS, 8))) for depth in DEPTHS]
    write_curve(evidence / "depth_curve.csv", depth_curve(points))
    write_json(evidence / "recommendation.json", RECOMMENDED)
    return artifacts


def written(artifacts: Artifacts) -> pd.DataFrame:
    base = artifacts.stage("replace_head") / MODEL
    write_depth_curve(CONFIG, artifacts, Asking(open_store(artifacts.data("test")), base, 7, CPU))
    return read_curve(artifacts.reports / "depth_curve.csv")


def test_every_depth_gets_the_accuracy_of_its_models(searched: Artifacts) -> None:
    curve = written(searched)
    test, initial = open_store(searched.data("test")), searched.stage("replace_head")
    for row in curve.itertuples():
        folder = searched.stage("search", "finetuned") / "evidence" / "models" / f"depth_{row.depth}"
        right = []
        for path in sorted(folder.glob("*.safetensors")):
            network, _ = load_model(path, card_beside(path), initial / MODEL)
            found = probabilities(network, batches(test, 5), CPU)
            right.append((found.argmax(1) == test.labels).mean())
        assert row.test_mean == pytest.approx(np.mean(right), abs=1e-6)
        assert 0 <= row.test_low <= row.test_mean <= row.test_high <= 1


def test_all_else_is_what_the_search_wrote(searched: Artifacts) -> None:
    evidence = searched.stage("search", "finetuned") / "evidence"
    before, after = read_curve(evidence / "depth_curve.csv"), written(searched)
    tested = ["test_mean", "test_low", "test_high"]
    pd.testing.assert_frame_equal(before.drop(columns=tested), after.drop(columns=tested))
    recommendation = searched.reports / "recommendation.json"
    assert recommendation.read_bytes() == (evidence / "recommendation.json").read_bytes()


def test_without_a_curve_there_is_only_the_header(searched: Artifacts) -> None:
    write_curve(searched.stage("search", "finetuned") / "evidence" / "depth_curve.csv", pd.DataFrame())
    curve = written(searched)
    assert curve.empty
    assert tuple(curve.columns) == COLUMNS
    assert (searched.reports / "recommendation.json").exists()


def test_a_missing_model_is_named(searched: Artifacts) -> None:
    folder = searched.stage("search", "finetuned") / "evidence" / "models" / "depth_3"
    (folder / "seed_1.safetensors").unlink()
    with pytest.raises(UserError, match=r"(?s)of 2 models at depth 3.*holds 1.*dvc repro"):
        written(searched)


def test_missing_evidence_is_named(searched: Artifacts) -> None:
    name = "depth_curve.csv"
    (searched.stage("search", "finetuned") / "evidence" / name).unlink()
    with pytest.raises(UserError, match=rf"evidence/{name} does not exist"):
        written(searched)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(2, 30), st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_the_same_outcomes_give_the_same_interval_on_test_as_on_validation(
    depths: int, seeds: int, images: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    points = [at_depth(depth, generator.random((seeds, images)) < 0.7) for depth in range(depths)]
    curve = depth_curve(points, np.arange(images))
    found = with_test(curve, points, np.arange(images), CONFIG)
    for end in ("mean", "low", "high"):
        np.testing.assert_array_equal(found[f"test_{end}"], found[f"val_{end}"])
