"""The LightningModule that every training uses: pretraining, trials, fine-tuning, the baseline."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from thawline.config.errors import UserError
from thawline.config.sections import Keep, Mix, Optimization
from thawline.data.batches import NOT_COUNTED, Batches
from thawline.data.mix import mix
from thawline.models.cuts import logits_of
from thawline.models.layout import may_be_channels_last
from thawline.models.randomness import reseed
from thawline.training.averaging import MovingAverage
from thawline.training.l2_sp import Pull
from thawline.training.lightning import SIGTERMException, pl, stepping
from thawline.training.loss import cross_entropy, weight_of
from thawline.training.optimization import Group, Span, build_optimizer, factor
from thawline.training.processes import summed
from thawline.training.resumption import require_same
from thawline.training.synchronized_batch_norm import WholeBatch

COLUMNS = ("epoch", "train_loss", "val_loss", "val_accuracy", "seconds")

AUXILIARY_WEIGHT = 0.3
"""Of an auxiliary head's loss, where a network has one (Szegedy et al. 2015, GoogLeNet)."""

_BETWEEN = 10**15
"""More than the steps of any training, so that no two processes or parts of a batch ever draw the same
random numbers."""

Row = dict[str, float]
"""One finished epoch, with the keys `COLUMNS`."""


def history_row(epoch: int, train_loss: float, validated: tuple[float, float], seconds: float) -> Row:
    """`validated`: loss and accuracy."""
    return dict(zip(COLUMNS, (epoch, train_loss, *validated, seconds), strict=True))


class TrainingDivergedError(UserError):
    """The loss is no longer a finite number."""


class Classifier(pl.LightningModule):
    """Cross-entropy training of `network` on its parameter groups.

    `history` holds one row per finished epoch with the keys `COLUMNS`; validation entries are NaN
    where there are no validation pictures. The training loss is the cross-entropy alone, without `pull`.
    `validated` is the last validation's loss and accuracy.

    It may be one of `world` processes, number `rank`, each with its part of every batch: losses are weighted
    so that the mean of their gradients is the whole batch's. `history` is of all pictures, in all processes.
    Where batches come in `parts`, a step's gradient is that of the whole batch likewise.

    One process with whole batches is given an epoch of them at once (`WholeEpochs`): Lightning takes a
    millisecond for what it does around each batch, which is longer than a step of a linear probe.

    Args:
        network: pictures (B, C, H, W) to logits (B, classes). Its `train()` decides what stays in
            evaluation mode (a frozen prefix does).
        groups: what learns, and how fast.
        class_weights: (classes,) factors of the loss, or None.
        seed: decides dropout, stochastic depth and mixed pictures, step by step, so that a resumed
            training repeats an uninterrupted one.
        classes: how many; needed only where pictures are mixed.
        ema: decay per step of an average of the weights, which is then what is validated and kept; 0: none.
        pull: towards where the weights started, or None.
        history: of the phases before this one; epochs are counted on from there.
        first: epochs planned before this training, and `span`: those its schedule runs over; None:
            this training's own.
        keep: with `Keep.best`, `best` becomes the tensors of the history's best epoch if it is one of this
            training's.
        identity: what a checkpoint must agree with to be gone on from.
        after_epoch: called with each finished epoch's row; may raise to end the training.
        after_step: called with the number of optimizer steps done so far.
    """

    def __init__(
        self,
        network: nn.Module,
        groups: tuple[Group, ...],
        settings: Optimization,
        *,
        seed: int,
        classes: int = 0,
        class_weights: torch.Tensor | None = None,
        keep: Keep = Keep.last,
        ema: float = 0.0,
        pull: Pull | None = None,
        history: Sequence[Row] = (),
        first: int = 0,
        span: Span | None = None,
        identity: Mapping[str, Any] | None = None,
        after_epoch: Sequence[Callable[[Row], None]] = (),
        after_step: Sequence[Callable[[int], None]] = (),
    ) -> None:
        super().__init__()
        self.network = network
        self.groups = groups
        self.settings = settings
        self.seed = seed
        self.classes = classes
        self.keep = keep
        self.average = MovingAverage(network, ema) if ema else None
        if self.average is not None:
            # or processes that train together would wait for its gradients
            self.average.requires_grad_(False)
        self.rank, self.world, self.parts = 0, 1, 1
        self.steps_per_epoch: int | None = None
        self.pull = pull
        self.first = first
        self.span = span or Span(first, settings.epochs)
        self.identity = dict(identity or {})
        self.after_epoch = (refuse_divergence, *after_epoch)
        self.after_step = tuple(after_step)
        self.class_weights: torch.Tensor | None
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.history: list[Row] = list(history)
        self.best: dict[str, torch.Tensor] | None = None
        self.validated = (math.nan, math.nan)
        self._steps_before = 0
        self._stepped = 0
        self._started = 0.0
        self._train: list[tuple[torch.Tensor, torch.Tensor | int]] = []
        self._val: list[torch.Tensor] = []
        self._batch: list[torch.Tensor] = []

    @property
    def kept(self) -> nn.Module:
        """The network whose weights are validated and kept: the average where there is one."""
        return self.network if self.average is None else self.average.module

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images)

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self.groups, self.settings)
        scheduler = self.schedule(optimizer, self._steps_per_epoch())
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def schedule(self, optimizer: torch.optim.Optimizer, per_epoch: int) -> torch.optim.lr_scheduler.LambdaLR:
        """The factor of all learning rates at each step, of which an epoch has `per_epoch`."""
        at = factor(self.settings.schedule, self.settings.warmup, self.span.epochs * per_epoch)
        done = (self.first - self.span.first) * per_epoch
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: at(done + step))

    def train_whole_epochs(self, steps: int | None) -> None:
        """From now on each call of `training_step` is given an epoch, of so many steps; None: a batch."""
        self.automatic_optimization, self.steps_per_epoch = steps is None, steps

    def _steps_per_epoch(self) -> int:
        if self.steps_per_epoch is not None:
            return self.steps_per_epoch
        assert self.trainer.max_epochs is not None
        return int(self.trainer.estimated_stepping_batches) // self.trainer.max_epochs

    def on_train_start(self) -> None:
        self._steps_before = self.first * self._steps_per_epoch()
        self._stepped = self.global_step

    def on_train_epoch_start(self) -> None:
        self._started = time.monotonic()
        loader = self.trainer.train_dataloader
        if loader is not None:
            loader.set_epoch(self.first + self.current_epoch)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        if not isinstance(batch, Batches):
            self._reseed(batch_idx)

    def _reseed(self, batch_idx: int) -> None:
        # or pictures of different processes and parts would lose the same activations to dropout
        place = batch_idx % self.parts * self.world + self.rank
        self.reseed(self._steps_before + self.global_step + place * _BETWEEN)

    def reseed(self, place: int) -> None:
        """Decide what is drawn from now on, by this training's seed and a number of the step's own."""
        reseed(self.seed * 1_000_003 + place, self.device)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor | None:  # noqa: ARG002
        if isinstance(batch, Batches):
            self._train_epoch(batch)
            return None
        return self.batch_loss(batch)

    def _train_epoch(self, batches: Batches) -> None:
        """What Lightning does batch by batch; `batches` are on this module's device."""
        optimizer, step = stepping(self)
        schedule: Any = self.lr_schedulers()
        trainer, precision = self.trainer, self.trainer.precision_plugin
        # Lightning gave this call the precision of a forward pass, and pictures are made in it, too
        with torch.autocast(self.device.type, enabled=False):
            for index, batch in enumerate(batches):
                self._reseed(index)
                with precision.forward_context():
                    loss = self.batch_loss(batch)
                optimizer.zero_grad()
                # not `manual_backward`: without float16 there is nothing to scale, and a probe's step is
                # not much longer than what Lightning does around it
                loss.backward()
                self.on_before_optimizer_step(optimizer)
                step()
                self._after_step()
                schedule.step()
                if trainer.received_sigterm:
                    raise SIGTERMException

    def batch_loss(self, batch: Sequence[torch.Tensor]) -> torch.Tensor:
        """What a step makes smaller: of the images, labels and indices of a batch, or of a part of one."""
        images, labels, indices = batch
        targets = labels
        if self.settings.mix is not Mix.none:
            images, targets = mix(images, labels, self.classes, self.settings.mix, self.settings.mix_alpha)
        with nullcontext() if self.world == 1 else WholeBatch(_counts(indices)):
            output = self.network(images)
        loss = self.loss(output, targets)
        if self.world == self.parts == 1:
            self._note(loss, len(labels))
            return loss
        share, weight, count = self._share(targets, indices)
        loss = loss * share
        if self.parts == 1:
            self._note(loss, count)
            return loss
        loss = loss * weight
        self._batch.append(torch.stack([loss.detach(), weight, count]))
        return loss

    def _note(self, loss: torch.Tensor, count: torch.Tensor | int) -> None:
        # kept on the device: reading the value here would wait for the GPU at every step
        self._train.append((loss.detach(), count))

    def _share(
        self, targets: torch.Tensor, indices: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What makes the mean of all processes' losses that of all their pictures; the weight of these, and
        their number over `world`."""
        weight, counts = weight_of(targets, self.class_weights), _counts(indices)
        mine = torch.stack([weight, weight.new_tensor(len(targets))]) * counts
        whole = summed(mine)
        return self.world * mine[0] / whole[0], whole[0], whole[1] / self.world

    def loss(self, output: Any, targets: torch.Tensor) -> torch.Tensor:
        """Cross-entropy, with class weights and label smoothing, of what the network returned."""
        return self._with_auxiliary(output, targets, cross_entropy)

    def _with_auxiliary(
        self, output: Any, targets: torch.Tensor, function: Callable[..., torch.Tensor]
    ) -> torch.Tensor:
        logits, auxiliary = logits_of(output)
        loss, *more = (
            function(each, targets, self.class_weights, self.settings.label_smoothing)
            for each in (logits, *auxiliary)
        )
        for each in more:
            loss = loss + AUXILIARY_WEIGHT * each
        return loss

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        if self.parts > 1:
            self._divide(optimizer)
        if self.pull is not None:
            self.pull.add_gradient()

    def _divide(self, optimizer: torch.optim.Optimizer) -> None:
        """Make the gradients, sums over the parts of a batch, those of its mean."""
        loss, weight, count = torch.stack(self._batch).sum(0)
        self._batch.clear()
        self._note(loss / weight, count)
        # Lightning has divided every part's by the number of parts
        factor = self.parts / weight
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad.mul_(factor)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        self._after_step()

    def _after_step(self) -> None:
        step = self.global_step
        if step == self._stepped:
            return  # gradients of several batches make one step, and this one was not the last of them
        self._stepped = step
        if self.average is not None:
            self.average.update(self.network)
        for listener in self.after_step:
            listener(step)

    def validation_step(self, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        images, labels, indices = batch
        if images.dim() == 4 and may_be_channels_last(self.network):
            # faster in this layout
            images = images.contiguous(memory_format=torch.channels_last)
        logits = logits_of(self.kept(images))[0].float()
        loss = functional.cross_entropy(logits, labels, reduction="sum")
        correct = (logits.argmax(1) == labels).sum()
        found = torch.stack([loss, correct.float(), loss.new_tensor(len(labels))])
        self._val.append(found if self.world == 1 else found * _counts(indices))

    def on_validation_epoch_end(self) -> None:
        loss, correct, count = self._total(torch.stack(self._val))
        self._val.clear()
        self.validated = (loss / count, correct / count)
        self.log("val_loss", loss / count, sync_dist=self.world > 1)

    def _total(self, found: torch.Tensor) -> list[float]:
        """The sum of `found`, a row for each batch, over batches and processes."""
        total = found.cpu().double().sum(0)
        if self.world > 1:
            total = summed(total.to(self.device)).cpu()
        return list(total.tolist())

    def on_train_epoch_end(self) -> None:
        total, count = self._total(_sums(*zip(*self._train, strict=True)))
        self._train.clear()
        seconds = time.monotonic() - self._started
        self.history.append(history_row(len(self.history), total / count, self.validated, seconds))
        if self.keep is Keep.best and best_epoch(self.history) == self.history[-1]["epoch"]:
            self.best = {name: value.clone() for name, value in self.kept.state_dict().items()}
        for listener in self.after_epoch:
            listener(self.history[-1])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["thawline"] = {
            "identity": self.identity,
            "history": self.history,
            "best": self.best,
            # Lightning would go on for an epoch before it asks again whether to stop
            "stopped": self.trainer.should_stop,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        require_same(checkpoint["thawline"]["identity"], self.identity)
        self.history = checkpoint["thawline"]["history"]
        self.best = checkpoint["thawline"]["best"]
        self.trainer.should_stop = checkpoint["thawline"]["stopped"]


def _counts(indices: torch.Tensor) -> torch.Tensor:
    """() float32: 0 where the only picture is there to keep this process busy."""
    return (indices[0] != NOT_COUNTED).float()


def _sums(losses: Sequence[torch.Tensor], counts: Sequence[torch.Tensor | int]) -> torch.Tensor:
    """(batches, 2): the sum of each batch's losses, of which `losses` are the means, and their number."""
    means = torch.stack(list(losses))
    of = torch.stack([torch.as_tensor(count, dtype=means.dtype) for count in counts]).to(means.device)
    return torch.stack([means * of, of], 1)


def refuse_divergence(row: Row) -> None:
    """Ends a training whose loss is infinite or NaN: everything after it is lost time."""
    if not math.isfinite(row["train_loss"]):
        raise TrainingDivergedError(
            f"the training loss became {row['train_loss']} in epoch {row['epoch'] + 1}.\n"
            "  lower the learning rate, or raise warmup"
        )


def best_epoch(history: list[Row]) -> int:
    """The epoch with the best validation accuracy; ties go to the lower loss, then the earlier."""
    best = min(history, key=lambda row: (-row["val_accuracy"], row["val_loss"], row["epoch"]))
    return int(best["epoch"])
