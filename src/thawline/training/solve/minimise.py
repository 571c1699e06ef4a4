"""Multinomial logistic regression with an L2 penalty, along a path of penalties."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from thawline.config.errors import UserError
from thawline.training.robust import Loss

EXACT = 1e-5
"""Largest slope, in scaled coordinates, of a solution whose probabilities are right to 1e-5."""
STEPS = 2000

Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]
"""From a point to the value there and the slope, of the point's shape."""


def regressions(
    coordinates: np.ndarray,
    targets: np.ndarray,
    penalties: Sequence[float] | np.ndarray,
    tolerance: float = EXACT,
    loss: Loss | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield weight (K, r) and bias (K,) for each penalty, each started from the one before.

    They make -sum(targets * log softmax) + penalty / 2 * sum(weight ** 2) smallest. The bias is not
    penalised. With two classes the penalty counts twice, as it does where one row of weights stands for
    both (binomial regression, scikit-learn's choice).

    Args:
        coordinates: (N, r), best along principal axes.
        targets: (N, K), not negative: class weight times share of the class. A class that has none gets
            weight 0 and a bias with which it is never the most probable one.
        penalties: positive; from large to small is quickest.
        tolerance: largest slope, in scaled coordinates, at which a solution is good enough.
        loss: made small in place of the cross-entropy. Robust losses have several minima: theirs is the one
            that is reached from the cross-entropy's.

    Raises UserError where a slope stays above it.
    """
    taken = targets.sum(0) > 0
    rows = np.ascontiguousarray(np.column_stack([coordinates, np.ones(len(coordinates))]).T)
    wanted = np.ascontiguousarray(targets[:, taken].T)
    found = np.zeros((len(wanted), len(rows)))
    found[:, -1] = np.log(wanted.sum(1) / wanted.sum())
    for penalty in penalties:
        counted = penalty * (2 if targets.shape[1] == 2 else 1)
        found = _regression(rows, wanted, counted, found, tolerance)
        last = found
        if loss is not None and not loss.plain:
            last = _regression(rows, wanted, counted, found, tolerance, loss)
        weight, bias = np.zeros((targets.shape[1], coordinates.shape[1])), np.zeros(targets.shape[1])
        weight[taken], bias[taken] = last[:, :-1], last[:, -1]
        bias[~taken] = last[:, -1].min() - np.log(len(targets) + 1)
        yield weight, bias


def _regression(
    rows: np.ndarray,
    targets: np.ndarray,
    penalty: float,
    start: np.ndarray,
    tolerance: float,
    loss: Loss | None = None,
) -> np.ndarray:
    """Return (K, r + 1), the bias last, for rows (r + 1, N), the last of them ones, and targets (K, N)."""
    importance = targets.sum(0)
    ridge = np.append(np.full(len(rows) - 1, penalty), 0.0)
    likely = softmax(start @ rows, axis=0)
    # along principal axes the Hessian is nearly diagonal: scaled by it, all directions curve alike
    curvature = (importance * likely * (1 - likely)) @ (rows**2).T + ridge
    scale = 1 / np.sqrt(np.maximum(curvature, 1e-6))

    def exact(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weight = flat.reshape(start.shape) * scale
        logits = weight @ rows
        logits -= logits.max(0)
        powers = np.exp(logits)
        sums = powers.sum(0)
        value = importance @ np.log(sums) - np.vdot(targets, logits) + 0.5 * np.vdot(ridge * weight, weight)
        slope = (powers * (importance / sums) - targets) @ rows.T + ridge * weight
        return float(value), (slope * scale).ravel()

    def robust(flat: np.ndarray) -> tuple[float, np.ndarray]:
        assert loss is not None
        weight = flat.reshape(start.shape) * scale
        log_p = log_softmax(weight @ rows, axis=0)
        p = np.exp(log_p)
        value = np.vdot(targets, loss.costs(log_p, np.exp)) + 0.5 * np.vdot(ridge * weight, weight)
        pulls = targets * loss.pull(p)
        slope = (p * pulls.sum(0) - pulls) @ rows.T + ridge * weight
        return float(value), (slope * scale).ravel()

    objective = exact if loss is None else robust
    return _smallest(objective, (start / scale).ravel(), tolerance).reshape(start.shape) * scale


def _smallest(objective: Objective, start: np.ndarray, tolerance: float) -> np.ndarray:
    """Minimise by L-BFGS-B, again from where it ended if a line search gave up early."""
    options = {"gtol": tolerance, "ftol": 0.0, "maxiter": STEPS, "maxfun": 2 * STEPS}
    for _ in range(3):
        found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
        slope = float(np.abs(found.jac).max(initial=0.0))
        if slope <= tolerance:
            return found.x
        start = found.x
    # a line search finds nothing better where float64 ends
    if slope <= 100 * EXACT:
        return found.x
    raise UserError(
        f"no linear head was found in {3 * STEPS} steps: the slope is still {slope:.1g}.\n"
        "  A larger penalty makes it easier: finetune.head_penalty=1.0"
    )
