"""One training: a classifier, its data and a Lightning trainer."""

import logging
import math
import os
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from thawline.config.errors import UserError
from thawline.config.sections import AugmentationName, Precision, Trainer
from thawline.data.batches import Batches
from thawline.data.store import Store
from thawline.machine import cores_each, keep_freed_memory
from thawline.models.freezing import PartlyFrozen
from thawline.models.layout import fastest, fastest_training
from thawline.progress import Advance
from thawline.training.classifier import COLUMNS, Classifier, Row
from thawline.training.lightning import (
    Callback,
    DDPStrategy,
    EarlyStopping,
    LambdaCallback,
    ModelCheckpoint,
    pl,
)
from thawline.training.processes import place, require_processes, same_everywhere


@dataclass(frozen=True)
class Fitted:
    """What a training leaves behind besides the changed network.

    `history` has a row per epoch; `epoch` is the one whose weights the network now holds. Where the
    weights were averaged after the last epoch, one more row says what the average achieves (its training
    loss is NaN). `cost` has the fields of `Cost` that could be counted and `training_flops`, the operations
    of all steps of all phases, for whole fine-tunings; `soup` are the trainings that were averaged into the
    kept weights, None without a soup.
    """

    history: list[Row]
    epoch: int
    cost: dict[str, float] = field(default_factory=dict)
    soup: tuple[int, ...] | None = None

    @property
    def curve(self) -> list[Row]:
        """The history, and where an earlier epoch was kept its row once more, one step later: what is
        shown last is what the kept weights achieve."""
        last = len(self.history) - 1
        return self.history if self.epoch == last else [*self.history, {**self.row, "epoch": last + 1}]

    @property
    def row(self) -> Row:
        """The history row of the kept epoch."""
        return self.history[self.epoch]


def show(advance: Advance) -> Callable[[Row], None]:
    """An `after_epoch` listener that advances a progress display by one epoch."""

    def listener(row: Row) -> None:
        advance(1, f"loss {row['train_loss']:.3f}, validation accuracy {row['val_accuracy']:.3f}")

    return listener


def show_steps(advance: Advance) -> Callable[[int], None]:
    """An `after_step` listener that advances a progress display to the steps done so far."""
    shown = 0

    def listener(step: int) -> None:
        nonlocal shown
        advance(step - shown)
        shown = step

    return listener


def prepare_machine(settings: Trainer) -> None:
    """Threads, memory and quiet logs for this process."""
    keep_freed_memory()
    torch.set_num_threads(settings.threads or cores_each())
    torch.set_float32_matmul_precision("high")
    for name in ("pytorch_lightning", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.WARNING)


def precision(settings: Trainer) -> str:
    """Lightning's name for the precision: bfloat16 autocast where a GPU supports it."""
    gpu = settings.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    fast = gpu and torch.cuda.is_bf16_supported()
    wanted = settings.precision is Precision.bfloat16 or (settings.precision is Precision.auto and fast)
    return "bf16-mixed" if wanted else "32-true"


def fit(
    classifier: Classifier,
    train: Batches,
    val: Batches,
    settings: Trainer,
    *,
    early_stopping: int = 0,
    checkpoint: Path | None = None,
    accumulate: int = 1,
) -> Fitted:
    """Train `classifier` and leave the last epoch's weights, or their average, in its network.

    Of processes that train together (`thawline.training.processes`) each calls this with whole batches.

    Args:
        early_stopping: epochs without a better validation loss before stopping; 0 never stops.
        checkpoint: a folder for the state after each epoch. If an earlier call with the same folder
            was killed, this one goes on after its last finished epoch and gives bit for bit what an
            uninterrupted one would have. The caller removes it once the result is saved.
        accumulate: in how many parts each batch of `train` is computed; still it makes one optimizer step.

    Raises:
        TrainingDivergedError: the loss became infinite or NaN.
        UserError: `settings` want another number of processes than there are.
    """
    train, val = _shared(classifier, settings, train), _shared(classifier, settings, val)
    train = train.in_parts(accumulate)
    classifier.parts = train.parts
    device = device_of(settings)
    if classifier.world == 1:
        train, val = train.on(device), val.on(device)
    at_once = classifier.world == train.parts == 1
    given = WholeEpochs(train) if at_once else train
    classifier.train_whole_epochs(len(train) if at_once else None)
    callbacks: list[Callback] = []
    if early_stopping:
        callbacks.append(EarlyStopping("val_loss", patience=early_stopping, check_on_train_epoch_end=False))
    if checkpoint is not None:
        callbacks.append(ModelCheckpoint(checkpoint, filename="last", save_on_train_epoch_end=True))
    last = checkpoint and checkpoint / "last.ckpt"
    resumes = same_everywhere(bool(last and last.exists()), f"whether there is {last}")
    plain = precision(settings) == "32-true" and not settings.compile
    quick = fastest_training(classifier, classifier.network, device, plain=plain)
    with quick, compiled(classifier.network, settings):
        fit_module(
            classifier,
            given,
            val,
            settings,
            ckpt_path=last if resumes else None,
            max_epochs=classifier.settings.epochs,
            callbacks=callbacks,
            enable_checkpointing=checkpoint is not None,
            accumulate_grad_batches=train.parts,
        )
    if classifier.average is not None:
        classifier.network.load_state_dict(classifier.average.module.state_dict())
    return Fitted(classifier.history, len(classifier.history) - 1)


def fit_module(
    module: pl.LightningModule,
    train: Any,
    val: Batches,
    settings: Trainer,
    *,
    ckpt_path: Path | None = None,
    **options: Any,
) -> None:
    """Train `module` with Lightning, whose trainer is given the `options`."""
    trainer = _trainer(settings, **options)
    # Lightning trains in the mode it is given, and a loaded network is in evaluation mode
    module.train()
    with _quiet():
        try:
            trainer.fit(module, train, val if len(val) else None, ckpt_path=ckpt_path)
        except SystemExit:
            # Lightning ends the process on Ctrl-C; our callers have things to put in order first
            raise KeyboardInterrupt from None


@contextmanager
def compiled(network: nn.Module, settings: Trainer) -> Iterator[None]:
    """For the length of the block, `network` (or both sides of one that is partly frozen) is what
    torch.compile makes of it, where the settings say so. Raises `UserError` where there is no compiler."""
    if not settings.compile:
        yield
        return
    if not (os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")):
        raise UserError(
            "trainer.compile = true, but there is no C++ compiler for torch.compile to use.\n"
            "  Install one (on Debian: apt-get install g++), or leave trainer.compile=false"
        )
    sides = [network.prefix, network.suffix] if isinstance(network, PartlyFrozen) else [network]
    for side in sides:
        side.compile()
    try:
        yield
    finally:
        for side in sides:
            side._compiled_call_impl = None


class WholeEpochs:
    """`batches` as Lightning sees them: one of them, which is all of them."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Batches]:
        yield self.batches

    def set_epoch(self, epoch: int) -> None:
        self.batches.set_epoch(epoch)


def validate(classifier: Classifier, val: Batches, settings: Trainer) -> tuple[float, float]:
    """Validation accuracy and loss of the network as it is now."""
    val = _shared(classifier, settings, val)
    trainer = _trainer(settings, enable_checkpointing=False)
    with _quiet(), fastest(classifier, classifier.network):
        trainer.validate(classifier, val, verbose=False)
    loss, accuracy = classifier.validated
    return accuracy, loss


def _shared(classifier: Classifier, settings: Trainer, whole: Batches) -> Batches:
    """This process's part of `whole`; `classifier` is told that it is a part."""
    classifier.rank, classifier.world = place()
    require_processes(settings, classifier.world)
    return whole.shared(classifier.rank, classifier.world)


def averaged_row(history: list[Row], accuracy: float, loss: float, seconds: float) -> Row:
    """The history row of weights that no epoch trained; `seconds` is what making them took."""
    return dict(zip(COLUMNS, (len(history), math.nan, loss, accuracy, seconds), strict=True))


def device_of(settings: Trainer) -> torch.device:
    """The device Lightning trains on with these settings."""
    alone = place()[1] == 1
    return _device(settings.accelerator, *((1, 1) if alone else (settings.devices, settings.nodes)))


@cache
def _device(accelerator: str, devices: int, nodes: int) -> torch.device:
    # in 32 bits: the precision decides nothing here
    settings = Trainer(accelerator=accelerator, devices=devices, nodes=nodes, precision=Precision.float32)
    return torch.device(_trainer(settings, enable_checkpointing=False).strategy.root_device)


def _trainer(settings: Trainer, callbacks: Sequence[Callback] = (), **options: Any) -> pl.Trainer:
    together = settings.devices * settings.nodes > 1
    return pl.Trainer(
        accelerator=settings.accelerator,
        devices=settings.devices,
        num_nodes=settings.nodes,
        # a network may have weights that it does not use
        strategy=DDPStrategy(find_unused_parameters=True) if together else "auto",
        callbacks=[*callbacks, *([_mortal()] if together else [])],
        precision=precision(settings),  # type: ignore[arg-type]
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        **options,
    )


def _mortal() -> Callback:
    """Lets SIGTERM end a process at once: Lightning would first talk to the others, which may be dead."""

    def restore(*_: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    return LambdaCallback(on_train_start=restore, on_validation_start=restore)


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        # batches are slices of an array in memory: worker processes would only slow them down
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        # the frozen prefix is in evaluation mode on purpose
        warnings.filterwarnings("ignore", ".*module\\(s\\) in eval mode.*")
        # whoever trains on everything has no pictures left to validate on
        warnings.filterwarnings("ignore", ".*have no `val_dataloader`.*")
        # an earlier call's checkpoint is what a resumed training is for
        warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
        # Lightning asks PyTorch in a way PyTorch has since renamed
        warnings.filterwarnings("ignore", ".*isinstance\\(treespec, LeafSpec\\).*")
        yield


def batches(
    store: Store,
    batch_size: int,
    *,
    seed: int | None = None,
    augmentation: AugmentationName = AugmentationName.none,
    mirror: bool = False,
    views: int = 0,
) -> Batches:
    """The store's pictures in batches; shuffled and augmented only with a `seed`."""
    return Batches(
        store.images,
        store.labels,
        store.transform,
        batch_size,
        shuffle=seed is not None,
        seed=seed or 0,
        augmentation=augmentation,
        mirror=mirror,
        views=views,
    )
