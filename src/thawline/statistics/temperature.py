"""One number that makes probabilities mean what they say: the temperature (Guo and others 2017, On
calibration of modern neural networks)."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

HOTTEST = 20.0
"""Temperatures from 1 / HOTTEST to HOTTEST are possible."""


def temperature_of(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature by which logits (N, C) have the least log-loss for their labels (N,).

    One more picture is supposed to have been seen, which is of any class with equal chance (Platt 1999,
    Probabilistic outputs for support vector machines, section 2.2): where every picture was right, the least
    log-loss would otherwise be at the temperature 0, the promise never to be wrong.

    Raises `ValueError` unless there is a picture.
    """
    if not len(logits):
        raise ValueError("no temperature without pictures")
    logits = np.asarray(logits, np.float64)

    def loss(power: float) -> float:
        said = -log_softmax(logits / np.exp(power), axis=1)
        return float(said[np.arange(len(labels)), labels].sum() + said.mean())

    ends = (-np.log(HOTTEST), np.log(HOTTEST))
    return float(np.exp(minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-4}).x))
