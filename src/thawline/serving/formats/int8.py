"""Eight-bit weights and activations for onnxruntime, by static quantisation, and whether they are worth it.

Static: the ranges of activations are measured beforehand, on training pictures. Dynamic quantisation measures
them in each batch, so that what is said of a picture depends on its neighbours.
"""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from thawline.data.store import Store, groups_of
from thawline.statistics.paired import difference_interval

log = logging.getLogger(__name__)

CALIBRATION, BATCH = 128, 16
GAIN = 1.1
"""Times as fast as float32 it must be, to be worth a different model."""
LOSS = 0.01
"""Largest loss of accuracy on the validation pictures."""
ROUNDS = 5


@dataclass(frozen=True)
class Comparison:
    """What quantisation does to accuracy (paired, with its 95 % interval) and to speed on this machine."""

    lost: float
    interval: tuple[float, float]
    pictures: int
    per_second: tuple[float, float]
    unknown: tuple[float, float] = (0.0, 0.0)
    """Share of the validation pictures that are unknown, in float32 and in 8 bits: features move, too."""

    @property
    def accuracy(self) -> str:
        """Say how the accuracy changes."""
        low, high = (100 * each for each in self.interval)
        return (
            f"accuracy on {self.pictures} validation pictures {-100 * self.lost:+.1f} points against float32 "
            f"(95 %: {-high:+.1f} to {-low:+.1f})"
        )

    @property
    def speed(self) -> dict[str, float]:
        """Pictures a second in batches of 16, on the machine that measured it."""
        return dict(zip(("float32_per_second", "int8_per_second"), self.per_second, strict=True))

    @property
    def refused(self) -> str | None:
        """Say why it is not worth it; None where it is."""
        before, after = self.per_second
        if self.lost > LOSS or self.interval[0] > 0:
            return f"it loses too much: {self.accuracy}"
        if self.unknown[1] - self.unknown[0] > LOSS:
            shares = " and ".join(f"{share:.1%}" for share in self.unknown)
            return f"of the validation pictures float32 and it take {shares} for unknown"
        if after < GAIN * before:
            return f"it gains nothing: it is not {GAIN:g} times as fast as float32 here; {self.accuracy}"
        return None


def quantise(source: Path, target: Path, images: np.ndarray, input: str) -> None:
    """Write the ONNX model at `source` with convolutions and matrix products of 8 bits to `target`.

    Activations are given the range they have on 128 of the training pictures, spread over all of them.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    rows = np.linspace(0, len(images) - 1, min(CALIBRATION, len(images))).round().astype(int)
    prepared = source.with_name("prepared.onnx")
    # its inference of symbolic shapes fails at what PyTorch exports for the length of a vector
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    graph = onnx.load(prepared).graph
    decided = {name for node in graph.node if node.op_type in ("TopK", "ArgMin") for name in node.input}
    quantize_static(
        prepared,
        target,
        _Reader(images[rows], input),
        op_types_to_quantize=["Conv", "Gemm", "MatMul"],
        # what decides whether a picture is unknown, and what costs least, stays as exact as it was
        nodes_to_exclude=[node.name for node in graph.node if decided & {*node.output}],
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        # weights of 7 bits: without VNNI a processor adds products of 8 bits in 16, which overflows, and the
        # file would answer otherwise there than here
        reduce_range=True,
    )
    # onnxruntime adds words of its own, which are no JSON, to what the model says of itself
    model = onnx.load(target)
    del model.metadata_props[:]
    model.metadata_props.extend(onnx.load(source, load_external_data=False).metadata_props)
    onnx.save(model, target)


class _Reader:
    """Gives onnxruntime the pictures it measures ranges on, as its `CalibrationDataReader` does."""

    def __init__(self, images: np.ndarray, input: str) -> None:
        starts = range(0, len(images), BATCH)
        self._batches: Iterator[dict[str, np.ndarray]] = iter(
            [{input: np.array(images[start : start + BATCH])} for start in starts]
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next batch; None after the last one."""
        return next(self._batches, None)


def compare(whole: Path, quantised: Path, store: Store, input: str, threshold: float | None) -> Comparison:
    """Ask both models about the same pictures, at least one: those to validate on.

    threshold: the score above which a picture is unknown; None: none is."""
    from onnxruntime import InferenceSession

    sessions = [InferenceSession(path) for path in (whole, quantised)]
    said = [_said(session, store.images, input) for session in sessions]
    right = [labels == store.labels for labels, _ in said]
    unknown = [0.0 if threshold is None else float((score > threshold).mean()) for _, score in said]
    clusters = groups_of(store.manifest)
    before, after = (each[None].astype(float) for each in right)
    interval = difference_interval(before, after, clusters, 0.95)
    batch = np.array(store.images[:BATCH])
    seconds = np.array([[_seconds(each, batch, input) for each in sessions] for _ in range(ROUNDS + 1)])
    # in turn, so that whatever else the machine does hits both; the first round sets up
    speeds = len(batch) / seconds[1:].min(0)
    log.info("onnx_int8: %.0f pictures a second, float32: %.0f", speeds[1], speeds[0])
    lost = float(before.mean() - after.mean())
    return Comparison(
        lost, interval, len(store), (float(speeds[0]), float(speeds[1])), (unknown[0], unknown[1])
    )


def _said(session: Any, images: np.ndarray, input: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the index of the label and the unknown score of each picture, (N,) each."""
    starts = range(0, len(images), BATCH)
    wanted = ["label", "unknown"]
    found = [session.run(wanted, {input: np.array(images[start : start + BATCH])}) for start in starts]
    labels, scores = (np.concatenate(each) for each in zip(*found, strict=True))
    return labels, scores


def _seconds(session: Any, batch: np.ndarray, input: str) -> float:
    started = time.perf_counter()
    session.run(None, {input: batch})
    return time.perf_counter() - started
