"""Benchmarks on what `replace_head` left in a checkout's artifacts/ and on the values of its params.yaml."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from command import arguments
from pages import ROOT
from torch import nn

from thawline.artifacts import CARD, MODEL, Artifacts, file_hash, fingerprint
from thawline.config.errors import UserError
from thawline.config.sections import Config, Finetune, Trainer
from thawline.data.store import open_store
from thawline.evaluation.asking import class_order
from thawline.identity import code_identity
from thawline.models.checkpoint import load_model
from thawline.models.device import prepare_machine
from thawline.models.inference import probabilities
from thawline.training.batches import batches
from thawline.training.finetune import initial_network
from thawline.training.history import Fitted
from thawline.training.soup import finetune_soup


def command(words: str | None) -> argparse.ArgumentParser:
    """Return what reads the command line of a script that is described by `words`."""
    parser = arguments(words)
    parser.add_argument("name", help="of the table, and of the file in benchmarks/results")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout whose artifacts are used")
    return parser


def run(main: Callable[[], None]) -> None:
    """Call `main`; what a person can put right ends the process with its words."""
    try:
        main()
    except UserError as error:
        raise SystemExit(f"error: {error}") from None


def folder_for(name: str, root: Path, *told: Any) -> Path:
    """Return where trainings are kept: elsewhere for other values, another source model or other code."""
    source = file_hash(Artifacts.under(root).stage("replace_head") / MODEL)
    lock, code = (root / "params.yaml").read_text(), code_identity("thawline.search.search")
    return root / "scratch" / name / fingerprint([lock, *told, source, code])[:12]


class Trainings:
    """Trainings of the initial target model by `config`, one at a time with one thread."""

    def __init__(self, root: Path, config: Config) -> None:
        artifacts, self.config = Artifacts.under(root), config
        self.initial, self.trainer = artifacts.stage("replace_head"), Trainer(accelerator="cpu", threads=1)
        self.source, self.card = load_model(self.initial / MODEL, self.initial / CARD)
        self.store, self.test = (open_store(artifacts.data(name)) for name in ("target", "test"))
        prepare_machine(self.trainer)

    def trained(self, recipe: Finetune, seed: int) -> tuple[nn.Module, Fitted]:
        network, _ = initial_network(recipe, self.initial, seed)
        mirror = self.config.target.mirror
        return network, finetune_soup(network, recipe, self.store, self.trainer, seed=seed, mirror=mirror)

    def answers(self, network: nn.Module) -> np.ndarray:
        """Return (N, C) probabilities of the test pictures, classes in the store's order."""
        found = probabilities(network, batches(self.test, self.config.evaluate.batch_size), "cpu")
        return found[:, class_order(self.card, self.test, self.initial / MODEL)]
