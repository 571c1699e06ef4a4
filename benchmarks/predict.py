"""How fast `thawline predict` is beside its two parts: decoding alone, and the network alone in onnxruntime.

    python benchmarks/predict.py --model artifacts/export ~/photographs --copies 2000

The pictures given are repeated up to the number of copies. Each round measures all three, one after the other
in this process, so that what else the machine does falls on each; both networks have PyTorch's threads
(OMP_NUM_THREADS). *ratio* is the slower part's time over that of predicting, start not counted: 1 where all
of the other part is hidden behind it. Seconds of the clock, and of all processors in brackets.
"""

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime
import torch

from thawline.data.content import file_at
from thawline.data.decoding import Decoder
from thawline.data.picture_files import open_picture
from thawline.machine import cores
from thawline.serving.formats.program import INPUT, as_program, write_onnx
from thawline.serving.predict import BATCH, card_of, network_of, picture_files, predict

log = logging.getLogger("predict")


def seconds(action: Callable[[], object]) -> tuple[float, float]:
    """Return how long `action` took by the clock and in time of all processors together."""
    started, used = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - started, time.process_time() - used


def main() -> None:
    parser = argparse.ArgumentParser(description="thawline predict beside decoding and the network alone.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, default=Path("artifacts/export"))
    parser.add_argument("--copies", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    logging.basicConfig(format="%(message)s", stream=sys.stdout)
    log.setLevel(logging.INFO)
    files = list(islice(cycle(picture_files([given.folder])), given.copies))
    card, answer = card_of(given.model), network_of(given.model)
    decoder = Decoder(card.transform)

    def decode(path: Path) -> np.ndarray:
        return decoder.read(partial(open_picture, file_at(path)))[0]

    def decode_all() -> None:
        with ThreadPoolExecutor(cores()) as readers:
            for _ in readers.map(decode, files):
                pass

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    images = np.stack([decode(path) for path in files[:BATCH]])
    with tempfile.TemporaryDirectory() as folder:
        write_onnx(Path(folder, "model.onnx"), as_program(network_of(given.model), card.transform), card)
        session = onnxruntime.InferenceSession(
            Path(folder, "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def ask_all() -> None:
        for start in range(0, len(files), BATCH):
            session.run(None, {INPUT: images[: len(files) - start]})

    parts: dict[str, Callable[[], object]] = {
        "decoding": decode_all,
        "network": ask_all,
        "predict": lambda: list(predict(lambda: answer, card, files)),
    }
    ratios = []
    for _ in range(given.rounds):
        took = {name: seconds(action) for name, action in parts.items()}
        ratios.append(max(took["decoding"][0], took["network"][0]) / took["predict"][0])
        log.info("; ".join(f"{name} {clock:.1f} ({used:.1f})" for name, (clock, used) in took.items()))
    log.info("ratio %.2f (%.2f to %.2f)", median(ratios), min(ratios), max(ratios))


if __name__ == "__main__":
    main()
