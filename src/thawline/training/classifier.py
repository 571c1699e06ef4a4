"""The LightningModule that every training uses: pretraining, trials, fine-tuning, the baseline."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from thawline.config.sections import Keep, Mix, Optimization
from thawline.data.batches import NOT_COUNTED, Batches
from thawline.data.mix import mix
from thawline.models.cuts import logits_of
from thawline.models.layout import laid_out, layout_of
from thawline.models.randomness import reseed
from thawline.models.state import State, snapshot
from thawline.progress import within
from thawline.training.averaging import MovingAverage
from thawline.training.batch_norm import EpochStatistics
from thawline.training.batches import validate
from thawline.training.history import Row, best_epoch, history_row, refuse_divergence
from thawline.training.l2_sp import L2SP
from thawline.training.loss import mean_loss, weight_of
from thawline.training.optimization import Group, Span, build_optimizer, factor
from thawline.training.processes import place, summed
from thawline.training.resumption import require_same
from thawline.training.rewards import Objective
from thawline.training.robust import Loss
from thawline.training.synchronized_batch_norm import SynchronizedBatchNorm

AUXILIARY_WEIGHT = 0.3
"""Of an auxiliary head's loss, where a network has one (Szegedy et al. 2015, GoogLeNet)."""

CROSS_ENTROPY = Loss()

_BETWEEN = 10**15
"""More than the steps of any training, so that no two processes or parts of a batch ever draw the same
random numbers."""


class Classifier(pl.LightningModule):
    """Training of `network` on its parameter groups, by the cross-entropy or a robust `loss`.

    `history` holds one row per finished epoch; validation entries are NaN where there are no validation
    pictures. The training loss is that of pictures alone, without `penalty`.
    Of processes that train together each has its share of every batch, and of one in `parts` each step has
    all: a step's gradient is the whole batch's. `history` is of all pictures, in all processes.

    Args:
        network: pictures (B, C, H, W) to logits (B, classes); its `train()` keeps a frozen prefix as it is.
        groups: what learns, and how fast.
        class_weights: (classes,) factors of `loss`, that of a picture, or None.
        seed: decides dropout, stochastic depth and mixed pictures, step by step: also of a resumed one.
        classes: how many; needed only where pictures are mixed.
        ema: decay per step of an average of the weights, which is then what is validated and kept; 0: none.
        penalty: on the distance from where the weights started, or None.
        objective: made smaller in place of the cross-entropy; None: nothing else.
        history: of the phases before this one; epochs are counted on from there.
        first: epochs planned before this training; `span`: those its schedule runs over; None: its own.
        keep: with `Keep.best`, `best` becomes the best epoch's tensors if it is one of this training's.
        identity: what a checkpoint must agree with to be gone on from.
        from_features: batches hold what the prefix of `network` makes of the pictures.
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
        loss: Loss = CROSS_ENTROPY,
        keep: Keep = Keep.last,
        ema: float = 0.0,
        penalty: L2SP | None = None,
        objective: Objective | None = None,
        history: Sequence[Row] = (),
        first: int = 0,
        span: Span | None = None,
        identity: Mapping[str, Any] | None = None,
        from_features: bool = False,
        after_epoch: Sequence[Callable[[Row], None]] = (),
        after_step: Sequence[Callable[[int], None]] = (),
    ) -> None:
        super().__init__()
        self.network, self.groups, self.settings = network, groups, settings
        self.seed, self.classes, self.keep, self.penalty = seed, classes, keep, penalty
        self.objective = objective
        self.of_a_picture = loss
        self.average = MovingAverage(network, ema) if ema else None
        if self.average is not None:
            # or processes that train together would wait for its gradients
            self.average.requires_grad_(False)
        self.layout, self.from_features = layout_of(network), from_features
        self.first, self.span = first, span or Span(first, settings.epochs)
        self.identity = dict(identity or {})
        self.after_epoch, self.after_step = (refuse_divergence, *after_epoch), tuple(after_step)
        self.class_weights: torch.Tensor | None
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.history: list[Row] = list(history)
        self.best: dict[str, torch.Tensor] | None = None
        self.train_batches: Batches | None = None
        self.val_batches: Batches | None = None
        self.parts, self.in_half = 1, False
        self._stepped, self._started = 0, 0.0
        self._losses: list[torch.Tensor] = []
        self._batch: list[torch.Tensor] = []
        self._statistics: EpochStatistics | None = None

    def learn_from(self, train: Batches, val: Batches, *, half: bool) -> None:
        """Set what the training is given: `train`, of which Lightning hands out the batches, and `val`."""
        self.train_batches, self.val_batches = train, val
        self.parts, self.in_half = train.parts, half

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch: the parts of a batch make one."""
        assert self.train_batches is not None
        return -(-len(self.train_batches) // self.parts)

    @property
    def kept(self) -> nn.Module:
        """The network whose weights are validated and kept: the average where there is one."""
        return self.network if self.average is None else self.average.module

    def forward(self, images: torch.Tensor) -> Any:
        return self._ask(images, self.network)

    def _ask(self, images: torch.Tensor, network: nn.Module) -> Any:
        asked = network.get_submodule("suffix") if self.from_features else network
        return asked(laid_out(images, self.layout))

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self.groups, self.settings)
        at = factor(self.settings.schedule, self.settings.warmup, self.span.epochs * self.steps_per_epoch)
        done = (self.first - self.span.first) * self.steps_per_epoch
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: at(done + step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_train_start(self) -> None:
        self._stepped = self.global_step

    def on_train_epoch_start(self) -> None:
        self._started = time.monotonic()
        assert self.train_batches is not None
        self.train_batches.set_epoch(self.first + self.current_epoch)
        self._statistics = EpochStatistics(self.network, self.train_batches.sizes)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        # or pictures of different processes and parts would lose the same activations to dropout
        rank, world = place()
        apart = batch_idx % self.parts * world + rank
        self.reseed(self.first * self.steps_per_epoch + self.global_step + apart * _BETWEEN)

    def reseed(self, step: int) -> None:
        """Decide what is drawn from now on, by this training's seed and a number of the step's own."""
        reseed(self.seed * 1_000_003 + step, self.device)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:  # noqa: ARG002
        return self.batch_loss(batch)

    def batch_loss(self, batch: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return what a step makes smaller: the loss of the images, labels or targets, and indices of a
        batch, or of a part of one."""
        images, targets, indices = batch
        if self.settings.mix is not Mix.none:
            images, targets = mix(images, targets, self.classes, self.settings.mix, self.settings.mix_alpha)
        with SynchronizedBatchNorm(_counts(indices)) if place()[1] > 1 else nullcontext():
            output = self(images)
        share, weight, count = self._share(targets, indices)
        if self.objective is None:
            loss = self.loss(output, targets) * share
        else:
            before = self.objective.asked(partial(self._ask, images), images.device)
            loss = self.objective(logits_of(output)[0], before, targets) * share
        if self.parts == 1:
            self._note(loss, count)
            return loss
        loss = loss * weight
        self._batch.append(torch.stack([loss.detach(), weight, count]))
        return loss

    def loss(self, output: Any, targets: torch.Tensor) -> torch.Tensor:
        """Return the loss, with class weights and label smoothing, of what the network returned."""
        logits, auxiliary = logits_of(output)
        loss, *more = (
            mean_loss(self.of_a_picture, each, targets, self.class_weights, self.settings.label_smoothing)
            for each in (logits, *auxiliary)
        )
        for each in more:
            loss = loss + AUXILIARY_WEIGHT * each
        return loss

    def _note(self, loss: torch.Tensor, count: torch.Tensor) -> None:
        # kept on the device: reading the value here would wait for the GPU at every step
        self._losses.append(torch.stack([loss.detach() * count, count]))

    def _share(
        self, targets: torch.Tensor, indices: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return what makes the mean of all processes' losses that of all their pictures, the weight of
        these, and their number for each process."""
        weight, counts, (_, world) = weight_of(targets, self.class_weights), _counts(indices), place()
        mine = torch.stack([weight, weight.new_tensor(len(targets))]) * counts
        whole = summed(mine)
        return world * mine[0] / whole[0], whole[0], whole[1] / world

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        if self.parts > 1:
            self._divide(optimizer)
        if self.penalty is not None:
            self.penalty.add_gradient()

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
        assert self._statistics is not None
        self._statistics.take()
        self._say(batch_idx + 1)
        if self.global_step == self._stepped:
            return  # gradients of several batches make one step, and this one was not the last of them
        self._stepped = self.global_step
        if self.average is not None:
            self.average.update(self.network)
        for listener in self.after_step:
            listener(self._stepped)

    def _say(self, done: int) -> None:
        """Show how far this phase is; `done`: batches of its present epoch."""
        assert self.train_batches is not None
        epochs, share = self.settings.epochs, done / len(self.train_batches)
        within(f"epoch {self.current_epoch + 1} of {epochs}", (self.current_epoch + share) / epochs)

    def on_train_epoch_end(self) -> None:
        assert self.val_batches is not None
        assert self._statistics is not None
        # before validation: it shall see what is kept
        self._statistics.keep()
        loss, count = self._total()
        validated = validate(
            self.kept, self.val_batches, self.device, half=self.in_half, from_features=self.from_features
        )
        seconds = time.monotonic() - self._started
        self.history.append(history_row(len(self.history), loss / count, validated, seconds))
        # early stopping asks for it by this name
        self.log("val_loss", validated[0], sync_dist=place()[1] > 1)
        if self.keep is Keep.best and best_epoch(self.history) == self.history[-1]["epoch"]:
            self.best = snapshot(self.kept)
        for listener in self.after_epoch:
            listener(self.history[-1])

    def let_go(self) -> tuple[MovingAverage | None, State | None]:
        """Drop what training alone needs, and return the moving average and the best epoch's tensors."""
        average, best = self.average, self.best
        self.average = self.best = self.objective = None
        self.zero_grad()
        return average, best

    def _total(self) -> list[float]:
        """Return the sum of an epoch's losses, and their number, over batches and processes."""
        total = torch.stack(self._losses).cpu().double().sum(0)
        self._losses.clear()
        return list(summed(total).tolist())

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
    """Return () float32: 0 where the only picture is there to keep this process busy."""
    return (indices[0] != NOT_COUNTED).float()
