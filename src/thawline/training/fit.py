"""One training: a classifier, its pictures and a Lightning trainer."""

import logging
import os
import shutil
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from thawline.config.errors import UserError
from thawline.config.sections import Trainer
from thawline.data.batches import Batches
from thawline.machine import loading
from thawline.models.device import device_of, in_half_precision
from thawline.models.freezing import PartlyFrozen
from thawline.models.layout import in_layout
from thawline.models.lean import later
from thawline.models.state import State, load_state, tensors_of
from thawline.training.history import Row
from thawline.training.processes import place, require_processes, same_everywhere
from thawline.training.resumption import save

# torchmetrics, which Lightning imports, names it and does not use it
with loading(), later("scipy.signal"):
    import pytorch_lightning as pl
    from pytorch_lightning.callbacks import Callback, EarlyStopping, LambdaCallback, ModelCheckpoint
    from pytorch_lightning.plugins.io import TorchCheckpointIO
    from pytorch_lightning.strategies import DDPStrategy

    from thawline.training.classifier import Classifier

for _name in ("pytorch_lightning", "lightning.fabric", "lightning"):
    logging.getLogger(_name).setLevel(logging.WARNING)


def fit(
    classifier: Classifier,
    train: Batches,
    val: Batches,
    settings: Trainer,
    *,
    early_stopping: int = 0,
    checkpoint: Path | None = None,
    accumulate: int = 1,
) -> tuple[list[Row], State | None]:
    """Train `classifier`, leave the last epoch's weights, or their average, in its network, and return its
    history and the tensors of the best epoch, where they are to be kept.

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
    rank, world = place()
    require_processes(settings, world)
    device = device_of(settings)
    train = train.shared(rank, world).in_parts(accumulate).on(device)
    classifier.learn_from(train, val, half=in_half_precision(settings))
    callbacks: list[Callback] = []
    if early_stopping and len(val):
        callbacks.append(EarlyStopping("val_loss", patience=early_stopping, check_on_train_epoch_end=True))
    if checkpoint is not None:
        callbacks.append(ModelCheckpoint(checkpoint, filename="last", save_on_train_epoch_end=True))
    trainer = _trainer(settings, classifier, callbacks)
    last = checkpoint and checkpoint / "last.ckpt"
    resumes = same_everywhere(bool(last and last.exists()), f"whether there is {last}")
    # Lightning trains in the mode it is given, and a loaded network is in evaluation mode
    classifier.train()
    with in_layout(classifier, classifier.layout), compiled(classifier.network, settings), _quiet():
        try:
            trainer.fit(classifier, train, ckpt_path=last if resumes else None)
        except SystemExit:
            # Lightning ends the process on Ctrl-C; our callers have things to put in order first
            raise KeyboardInterrupt from None
        finally:
            # a trainer refers to itself, so all that it holds stays until Python next looks for garbage
            average, best = classifier.let_go()
            for optimizer in trainer.optimizers:
                optimizer.state.clear()
    if average is not None:
        load_state(classifier.network, tensors_of(average.module))
    return classifier.history, best


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place, and gives it its name once it is whole.

    Lightning's own is moved there from the folder for temporary files. If that is on another disk, it is
    copied, and ends in the middle where the process is killed or the disk is full.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:  # noqa: ARG002
        """Write `checkpoint` to `path`; a former one stays until then."""
        save(Path(path), checkpoint)


def _trainer(settings: Trainer, classifier: Classifier, callbacks: list[Callback]) -> pl.Trainer:
    together = settings.devices * settings.nodes > 1
    return pl.Trainer(
        accelerator=device_of(settings).type,
        devices=settings.devices,
        num_nodes=settings.nodes,
        # a network may have weights that it does not use
        strategy=DDPStrategy(find_unused_parameters=True) if together else "auto",
        precision="bf16-mixed" if classifier.in_half else "32-true",
        max_epochs=classifier.settings.epochs,
        accumulate_grad_batches=classifier.parts,
        plugins=[WholeCheckpoints()],
        callbacks=[*callbacks, LambdaCallback(on_train_start=_mortal)] if together else callbacks,
        enable_checkpointing=any(isinstance(each, ModelCheckpoint) for each in callbacks),
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def _mortal(*_: object) -> None:
    """Let SIGTERM end a process at once: Lightning would first talk to the others, which may be dead."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def compiled(network: nn.Module, settings: Trainer) -> Iterator[None]:
    """For the length of the block, let `network` (or both sides of one that is partly frozen) be what
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


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        # the frozen prefix is in evaluation mode on purpose
        warnings.filterwarnings("ignore", ".*module\\(s\\) in eval mode.*")
        # an earlier call's checkpoint is what a resumed training is for
        warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
        # Lightning asks PyTorch in a way PyTorch has since renamed
        warnings.filterwarnings("ignore", ".*isinstance\\(treespec, LeafSpec\\).*")
        yield
