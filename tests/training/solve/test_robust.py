"""Robust losses: between the cross-entropy and the mean absolute error, for labels, shares and solved
heads."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from thawline.config.choices import LossName
from thawline.config.errors import FieldError
from thawline.config.recipe.meaning import Situation
from thawline.config.recipe.words import besides
from thawline.config.sections import Finetune
from thawline.training.loss import cross_entropy, mean_loss
from thawline.training.robust import Loss
from thawline.training.solve.features import standardised
from thawline.training.solve.logistic import logistic_head
from thawline.training.solve.targets import Targets

GENERALISED, SYMMETRIC = Loss(LossName.generalised, 0.7), Loss(LossName.symmetric, 0.9)
LOGITS = torch.tensor([[2.0, 0.5, -1.0], [0.0, 1.0, 3.0], [0.3, 0.2, 0.1]])
LABELS = torch.tensor([0, 1, 2])


def test_the_generalised_loss_lies_between_the_cross_entropy_and_the_mean_absolute_error() -> None:
    p = LOGITS.softmax(1)[torch.arange(3), LABELS]
    near_0, half, at_1 = (mean_loss(Loss(LossName.generalised, q), LOGITS, LABELS) for q in (1e-3, 0.5, 1.0))
    torch.testing.assert_close(near_0, cross_entropy(LOGITS, LABELS), rtol=2e-3, atol=0)
    torch.testing.assert_close(half, (2 * (1 - p.sqrt())).mean())
    torch.testing.assert_close(at_1, (1 - p).mean())


def test_the_symmetric_loss_is_a_mean_of_the_cross_entropy_and_its_reverse() -> None:
    p = LOGITS.softmax(1)[torch.arange(3), LABELS]
    torch.testing.assert_close(
        mean_loss(SYMMETRIC, LOGITS, LABELS), (0.1 * -p.log() + 0.9 * 4 * (1 - p)).mean()
    )
    torch.testing.assert_close(
        mean_loss(Loss(LossName.symmetric, 0.0), LOGITS, LABELS), cross_entropy(LOGITS, LABELS)
    )


@pytest.mark.parametrize("loss", [GENERALISED, SYMMETRIC])
def test_shares_cost_the_mean_of_their_labels_costs(loss: Loss) -> None:
    each = [mean_loss(loss, LOGITS[:1], torch.tensor([label])) for label in range(3)]
    shares = torch.tensor([[0.4, 1.0, 0.6]])
    expected = (shares[0] @ torch.stack(each)) / 2
    torch.testing.assert_close(mean_loss(loss, LOGITS[:1], shares), expected)
    smoothed = (0.7 * each[1] + 0.1 * torch.stack(each).sum()) / 1
    torch.testing.assert_close(mean_loss(loss, LOGITS[:1], torch.tensor([1]), None, 0.3), smoothed)


@pytest.mark.parametrize("loss", [GENERALISED, SYMMETRIC])
def test_a_solved_head_is_where_a_training_by_the_same_loss_would_rest(loss: Loss, draw) -> None:
    values, labels = draw(60, 12, 3)
    weights, given = np.array([1.0, 2.0, 0.5]), np.random.default_rng(0).dirichlet(np.ones(3), 60)
    targets = Targets(labels, 3, class_weights=weights, label_smoothing=0.1, given=given, loss=loss)
    head = logistic_head([values], targets, penalty=2.0)
    table = standardised([values])
    on_rows = np.divide(head.weight, table.scale, out=np.zeros_like(head.weight), where=table.scale > 0)
    weight = torch.tensor(on_rows, requires_grad=True)
    bias = torch.tensor(head.bias + head.weight @ table.mean, requires_grad=True)
    logits = torch.tensor(table.rows) @ weight.T + bias
    mean = mean_loss(loss, logits, torch.tensor(given), torch.tensor(weights), 0.1)
    (mean * targets.weights.sum() + (weight**2).sum()).backward()
    for parameter in (weight, bias):
        assert parameter.grad is not None
        assert parameter.grad.abs().max() < 1e-3


def test_wrong_labels_that_are_sure_to_be_wrong_hardly_pull() -> None:
    generator, labels = np.random.default_rng(1), np.arange(300) % 3
    far = (4 * generator.normal(size=(3, 8))[labels] + generator.normal(size=(300, 8))).astype(np.float32)
    wrong = generator.random(300) < 0.3
    noisy = np.where(wrong, (labels + 1) % 3, labels)
    cuts = [far]
    plain, robust = (
        softmax(logistic_head(cuts, Targets(noisy, 3, loss=loss), penalty=0.3).logits(cuts), axis=1)
        for loss in (Loss(), GENERALISED)
    )
    rows = np.arange(300)
    assert robust[rows, labels].mean() > plain[rows, labels].mean() + 0.1


def test_a_parameter_outside_its_range_is_refused() -> None:
    with pytest.raises(FieldError, match="loss_q = 0.0 is not allowed.\n.*above 0 and at most 1"):
        Finetune(loss_q=0.0)
    with pytest.raises(FieldError, match="loss_reverse"):
        Finetune(loss_reverse=1.5)


def test_a_recipe_says_which_loss_it_has() -> None:
    at = Situation(0, 4)
    assert "generalised cross-entropy (q = 0.7)" in besides(Finetune(loss=LossName.generalised), at)
    assert "symmetric cross-entropy (90% reversed)" in besides(Finetune(loss=LossName.symmetric), at)
    assert besides(Finetune(), at) == []
    assert Loss.of(Finetune(loss=LossName.symmetric, loss_reverse=0.5)) == Loss(LossName.symmetric, 0.5)
    assert Loss.of(Finetune()).plain


def test_penalties_of_a_robust_loss_are_judged_by_right_answers() -> None:
    targets = Targets(np.array([0, 1]), 2, loss=GENERALISED)
    np.testing.assert_allclose(targets.losses(np.array([[3.0, 0.0], [1.0, 0.0]])), [0, 1])
    shared = Targets(np.array([0]), 2, loss=GENERALISED, given=np.array([[1.5, 0.5]]))
    np.testing.assert_allclose(shared.losses(np.array([[1.0, 0.0]])), [0.25])
