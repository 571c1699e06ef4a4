"""A head by logistic regression is what scikit-learn finds; pictures left out choose its penalty."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from thawline.config.errors import UserError
from thawline.training.loss import cross_entropy
from thawline.training.solve import minimise
from thawline.training.solve.features import standardised
from thawline.training.solve.logistic import logistic_head
from thawline.training.solve.targets import Targets

Draw = Callable[..., tuple[np.ndarray, np.ndarray]]


def balanced(labels: np.ndarray, classes: int) -> np.ndarray:
    return len(labels) / (classes * np.bincount(labels, minlength=classes))


def by_scikit_learn(rows: np.ndarray, labels: np.ndarray, penalty: float, weight: str | None) -> np.ndarray:
    model = LogisticRegression(C=1 / penalty, class_weight=weight, tol=1e-8, max_iter=10_000)
    return model.fit(rows, labels).predict_proba(rows)


@pytest.mark.parametrize(
    ("pictures", "columns", "classes", "weight"),
    [(40, 90, 2, None), (120, 10, 2, "balanced"), (90, 20, 3, None), (60, 80, 7, "balanced")],
)
def test_probabilities_are_those_of_scikit_learn(
    pictures: int, columns: int, classes: int, weight: str | None, draw: Draw
) -> None:
    values, labels = draw(pictures, columns, classes)
    cuts = [values]
    targets = Targets(labels, classes, class_weights=balanced(labels, classes) if weight else None)
    for penalty in (0.02, 3.0, 300.0):
        found = softmax(logistic_head(cuts, targets, penalty=penalty).logits(cuts), axis=1)
        wanted = by_scikit_learn(standardised(cuts).rows, labels, penalty, weight)
        assert np.abs(found - wanted).max() < 1e-4


def test_smoothed_and_weighted_targets_are_those_of_the_loss_of_a_training(draw: Draw) -> None:
    values, labels = draw(60, 12, 3)
    weights = balanced(labels, 3)
    head = logistic_head(
        [values], Targets(labels, 3, class_weights=weights, label_smoothing=0.2), penalty=5.0
    )
    table = standardised([values])
    on_rows = np.divide(head.weight, table.scale, out=np.zeros_like(head.weight), where=table.scale > 0)
    weight = torch.tensor(on_rows, requires_grad=True)
    bias = torch.tensor(head.bias + head.weight @ table.mean, requires_grad=True)
    logits = torch.tensor(table.rows) @ weight.T + bias
    mean = cross_entropy(logits, torch.tensor(labels), torch.tensor(weights), label_smoothing=0.2)
    (mean * weights[labels].sum() + 2.5 * (weight**2).sum()).backward()
    for parameter in (weight, bias):
        assert parameter.grad is not None
        assert parameter.grad.abs().max() < 1e-3


def test_views_of_a_picture_share_its_weight(draw: Draw) -> None:
    values, labels = draw(40, 8, 3)
    once = logistic_head([values], Targets(labels, 3), penalty=2.0)
    views = Targets(np.tile(labels, 3), 3, pictures=np.tile(np.arange(40), 3))
    assert logistic_head([np.tile(values, (3, 1))], views, penalty=2.0).weight == pytest.approx(
        once.weight, abs=1e-4
    )


def test_views_and_groups_stay_on_one_side_so_copies_teach_nothing_about_each_other() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 30)
    values = np.tile(generator.normal(size=(30, 60)), (2, 1))
    twice, own = np.tile(labels, 2), np.tile(np.arange(30), 2)
    for targets in (Targets(twice, 2, pictures=own), Targets(twice, 2, groups=own)):
        path = logistic_head([values], targets).path
        assert path is not None
        assert path.accuracy.max() < 0.75  # labels are noise
    apart = logistic_head([values], Targets(twice, 2)).path
    assert apart is not None
    assert apart.accuracy.max() > 0.85  # only where both copies are left out is it noise


def test_the_penalty_with_the_smallest_loss_is_chosen_and_of_equals_the_largest(draw: Draw) -> None:
    values, labels = draw(80, 30, 3)
    head = logistic_head([values], Targets(labels, 3))
    assert head.path is not None
    tried = 30 * 10.0 ** np.arange(1, -3.5, -0.5)
    assert head.path.penalties == pytest.approx(tried[: len(head.path.penalties)])
    assert head.penalty == head.path.penalties[head.path.loss.argmin()]
    assert logistic_head([np.ones((80, 3))], Targets(labels, 3)).penalty == 30.0


def test_penalties_that_only_fit_closer_are_not_tried() -> None:
    generator = np.random.default_rng(0)
    noise = [generator.normal(size=(60, 30))]
    path = logistic_head(noise, Targets(generator.integers(0, 2, 60), 2)).path
    assert path is not None
    assert len(path.penalties) == path.chosen + 3


def test_a_class_with_one_picture_and_one_with_none_leave_everything_finite(draw: Draw) -> None:
    values, labels = draw(30, 50, 2)
    labels[0] = 2
    head = logistic_head([values], Targets(labels, 4))
    said = softmax(head.logits([values]), axis=1)
    assert head.path is not None
    assert np.isfinite(head.path.loss).all()
    assert np.isfinite(said).all()
    assert (said.argmax(1) != 3).all()


def test_with_one_picture_of_each_class_the_middle_penalty_is_taken(draw: Draw) -> None:
    values, labels = draw(3, 50, 3)
    head = logistic_head([values], Targets(labels, 3))
    assert (head.penalty, head.path) == (pytest.approx(50 / 10), None)


def test_several_cuts_are_solved_as_one_table_and_the_head_takes_them_raw(draw: Draw) -> None:
    values, labels = draw(50, 24, 3)
    cuts = [values[:, :12], 100 * values]
    head = logistic_head(cuts, Targets(labels, 3), penalty=3.0)
    assert head.weight.shape == (3, 12 + 24)
    wanted = by_scikit_learn(standardised(cuts).rows, labels, 3.0, None)
    assert np.abs(softmax(head.logits(cuts), axis=1) - wanted).max() < 1e-4


def test_the_same_input_gives_the_same_bits(draw: Draw) -> None:
    values, labels = draw(50, 70, 3)
    one, other = (logistic_head([values], Targets(labels, 3)) for _ in range(2))
    assert one.weight.tobytes() == other.weight.tobytes()


def test_a_minimum_that_is_not_found_is_an_error(draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    values, labels = draw(60, 80, 3)
    monkeypatch.setattr(minimise, "STEPS", 2)
    with pytest.raises(UserError, match="A larger penalty"):
        logistic_head([values], Targets(labels, 3), penalty=1e-3)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("weighted", [False, True])
def test_rows_of_shares_are_weighted_copies_of_their_pictures(
    classes: int, weighted: bool, draw: Draw
) -> None:
    values, labels = draw(60, 12, classes)
    generator = np.random.default_rng(3)
    given = generator.dirichlet(np.ones(classes), 60) * generator.gamma(1.0, size=(60, 1))
    of_classes = balanced(labels, classes) if weighted else np.ones(classes)
    cuts = [values]
    targets = Targets(labels, classes, class_weights=of_classes, given=given)
    found = softmax(logistic_head(cuts, targets, penalty=2.0).logits(cuts), axis=1)
    rows = standardised(cuts).rows
    model = LogisticRegression(C=0.5, tol=1e-8, max_iter=10_000)
    model.fit(np.repeat(rows, classes, 0), np.tile(np.arange(classes), 60), (given * of_classes).ravel())
    assert np.abs(found - model.predict_proba(rows)).max() < 1e-4


def test_left_out_rows_are_judged_by_their_shares(draw: Draw) -> None:
    values, labels = draw(80, 12, 3)
    cuts, generator = [values], np.random.default_rng(0)
    wrong = generator.random(80) < 0.4
    noisy = np.where(wrong, generator.integers(3, size=80), labels)
    plain = logistic_head(cuts, Targets(noisy, 3)).path
    weighed = logistic_head(cuts, Targets(noisy, 3, given=np.eye(3)[noisy] * ~wrong[:, None])).path
    assert plain is not None
    assert weighed is not None
    assert weighed.loss.min() < plain.loss.min() - 0.1
