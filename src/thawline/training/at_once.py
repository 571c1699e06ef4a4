"""Several trainings at once: those that have their frozen prefix, pictures and shapes in common are trained
as one batch of models, each at its own rates and from its own seed. Each comes to what it would have come to
alone, but for the last bits.

A step of a small suffix takes as long as calling its operations does, and a GPU is idle meanwhile. Stacked,
the operations are called once for all models (torch.func: `vmap`).
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch.nn import functional

from thawline.config.sections import Finetune, Keep, Mix, OptimizerName
from thawline.data.batches import Batches
from thawline.models.cuts import logits_of
from thawline.models.freezing import given_features, tensors_of
from thawline.training.classifier import (
    Classifier,
    Row,
    TrainingDivergedError,
    best_epoch,
    history_row,
    refuse_divergence,
)
from thawline.training.cost import peak_memory, reset_peak_memory
from thawline.training.fit import Fitted, fit_module, precision
from thawline.training.learning import learning_groups
from thawline.training.lightning import SIGTERMException, pl, stepping
from thawline.training.once import Training
from thawline.training.optimization import Group, build_optimizer
from thawline.training.prefix.cache import Fed
from thawline.training.stack import Stack, State, refusal

OWN = ("body_lr", "head_lr", "layer_decay", "weight_decay")
"""What may differ between recipes that are trained at once."""

Groups = tuple[Group, ...]


@dataclass(frozen=True)
class Member:
    """One of the trainings: its recipe, its seed, and the network's tensors before the first step."""

    recipe: Finetune
    seed: int
    start: State


def common(recipe: Finetune) -> dict[str, Any]:
    """What must be equal for recipes to be trained at once."""
    return {name: value for name, value in asdict(recipe).items() if name not in OWN}


def refused(recipe: Finetune) -> str | None:
    """Why trainings by such a recipe cannot be stacked, whatever the network; None where they may."""
    reasons = {
        "pictures that are mixed are not stored": recipe.mix is not Mix.none,
        "an average of the weights is one network's": recipe.ema > 0 or recipe.wise_ft < 1 or recipe.soup > 1,
        "the pull to the source model is one network's": recipe.l2_sp > 0,
        "each would stop at another epoch": recipe.early_stopping > 0,
        "LAMB looks at each tensor as a whole": recipe.optimizer is OptimizerName.lamb,
        "each epoch augments every picture anew": recipe.augmentation.name != "none" and recipe.views == 0,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


@dataclass(frozen=True)
class Result:
    """What one of the trainings came to: its epochs, the kept one, and the suffix's tensors after that.

    `diverged` says where its loss was no longer finite; the history ends with that epoch.
    """

    history: list[Row]
    epoch: int
    state: State
    diverged: TrainingDivergedError | None


@dataclass(frozen=True)
class AtOnce:
    """Finished trainings of one network: `take` puts any of them into it. `peak_memory` is what they took
    together, in bytes."""

    training: Training
    members: Sequence[Member]
    results: list[Result]
    peak_memory: int

    def take(self, member: int) -> Fitted:
        """What the training says of itself; the network then holds its kept weights.

        Raises `TrainingDivergedError` where its loss became infinite or NaN.
        """
        result, held = self.results[member], self.training.held
        if result.diverged is not None:
            raise result.diverged
        assert held is not None
        suffix = tensors_of(held.suffix)
        trained = {id(tensor) for tensor in suffix.values()}
        with torch.no_grad():
            for name, tensor in suffix.items():
                tensor.copy_(result.state[name])
            # auxiliary heads inside the frozen part are each seed's own, too
            for name, tensor in tensors_of(self.training.network).items():
                if id(tensor) not in trained:
                    tensor.copy_(self.members[member].start[name])
        cost = {**self.training.cost(result.history), "peak_memory_bytes": self.peak_memory}
        return Fitted(result.history, result.epoch, cost)


def train_at_once(training: Training, members: Sequence[Member]) -> AtOnce | str:
    """Train all `members`, or say why they have to be trained one after the other.

    Args:
        training: of the first member's recipe, on a network that the others' recipes fit as well. It stays as
            it is, until `AtOnce.take`.
        members: recipes that have all but `OWN` in common.

    Raises `RuntimeError` where memory does not suffice for so many.
    """
    recipe = members[0].recipe
    if any(common(each.recipe) != common(recipe) for each in members):
        raise ValueError("recipes that are trained at once may differ in " + ", ".join(OWN) + " only")
    reason = refused(recipe)
    if reason is None and len(training.phases) > 1:
        reason = "the phases have different prefixes"
    if reason is None and recipe.views and len({each.seed for each in members}) > 1:
        reason = "each seed augments in its own way"
    if reason is not None:
        return reason
    classifier = training.prepared(training.phases[0])
    fed = training.fed(recipe.epochs)
    if fed is None:
        return "the frozen part's features are not stored"
    train, val = fed
    classifier.train()
    with given_features(classifier):
        return _trained(training, classifier, (train.on(training.device), val.on(training.device)), members)


def _trained(training: Training, classifier: Classifier, fed: Fed, members: Sequence[Member]) -> AtOnce | str:
    assert training.held is not None
    reset_peak_memory(training.device)
    train, val = fed
    classifier.to(training.device)
    suffix = training.held.suffix
    inputs, _, _ = next(iter(train.in_order(2)))
    names = _names(training)
    own = tensors_of(suffix)
    states = [{**own, **{ours: each.start[whole] for ours, whole in names.items()}} for each in members]
    # models of one seed draw the same numbers; on a GPU not those that one alone would
    one_seed = len({each.seed for each in members}) == 1
    stack = Stack(suffix, states, alike=one_seed and training.device.type == "cpu")
    with torch.autocast(
        training.device.type, torch.bfloat16, enabled=precision(training.trainer) != "32-true"
    ):
        reason = refusal(stack, inputs)
    if reason is not None:
        return reason
    groups = _groups(training, stack, members)
    # those of one seed are the same for all of them
    batches = [train.seeded(each.seed) for each in (members[:1] if one_seed else members)]
    stacked = StackedClassifier(classifier, stack, groups, batches)
    fit_module(
        stacked,
        _Epochs(stacked.batches),
        val,
        training.trainer,
        max_epochs=members[0].recipe.epochs,
        enable_checkpointing=False,
    )
    training.held.cpu()
    return AtOnce(training, members, stacked.results(), peak_memory(training.device))


def _names(training: Training) -> dict[str, str]:
    """The names of the suffix's tensors, each with its name in the network: not of constants, which are
    nobody's own."""
    assert training.held is not None
    whole = {id(tensor): name for name, tensor in tensors_of(training.network).items()}
    suffix = tensors_of(training.held.suffix)
    return {name: whole[id(tensor)] for name, tensor in suffix.items() if id(tensor) in whole}


def _groups(training: Training, stack: Stack, members: Sequence[Member]) -> Groups:
    """Each model's parameters at its own rates; one group of whole stacks where all models' are equal."""
    assert training.held is not None
    names = {id(each): name for name, each in training.held.suffix.named_parameters()}
    found = [learning_groups(training.network, each.recipe) for each in members]
    if all(_rates(groups) == _rates(found[0]) for groups in found):
        return tuple(
            replace(group, parameters=tuple(stack.learning[names[id(each)]] for each in group.parameters))
            for group in found[0]
        )
    return tuple(
        replace(group, parameters=tuple(stack.of(names[id(each)], model) for each in group.parameters))
        for model, groups in enumerate(found)
        for group in groups
    )


def _rates(groups: Groups) -> list[tuple[float, float]]:
    return [(group.learning_rate, group.weight_decay) for group in groups]


class _Epochs:
    """An epoch of all models' batches as Lightning sees it: one batch, which is all of them."""

    def __init__(self, batches: Sequence[Batches]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator["_Epochs"]:
        yield self

    def steps(self, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Inputs and labels of each step: `(B, …)` where all models see the same, else `(models, B, …)`."""
        for each in self.batches:
            each.set_epoch(epoch)
        for batches in zip(*self.batches, strict=True):
            inputs, labels = ([batch[part] for batch in batches] for part in (0, 1))
            if len(batches) == 1:
                yield inputs[0], labels[0]
            else:
                yield torch.stack(inputs), torch.stack(labels)


class StackedClassifier(pl.LightningModule):
    """What `Classifier` does for one network, for the models of `stack`.

    Args:
        classifier: of one of them, which knows the loss; it holds the module that the stack calls.
        groups: what learns, and how fast.
        batches: of each model, or the same for all.
    """

    def __init__(
        self, classifier: Classifier, stack: Stack, groups: Groups, batches: Sequence[Batches]
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.classifier, self.stack, self.groups, self.batches = classifier, stack, groups, batches
        self.histories: list[list[Row]] = [[] for _ in range(stack.models)]
        self.diverged: list[TrainingDivergedError | None] = [None] * stack.models
        self.best: list[State | None] = [None] * stack.models
        self._train: list[torch.Tensor] = []
        self._val: list[torch.Tensor] = []
        self._started = 0.0

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self.groups, self.classifier.settings)
        scheduler = self.classifier.schedule(optimizer, len(self.batches[0]))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_train_epoch_start(self) -> None:
        self._started = time.monotonic()

    def training_step(self, batch: _Epochs, batch_idx: int) -> None:  # noqa: ARG002
        _, step = stepping(self)
        schedule: Any = self.lr_schedulers()
        # Lightning gave this call the precision of a forward pass
        with torch.autocast(self.device.type, enabled=False):
            for inputs, labels in batch.steps(self.current_epoch):
                self.stack.forget_gradients()
                self.classifier.reseed(self.global_step)
                with self.trainer.precision_plugin.forward_context():
                    output = self.stack(inputs, apart=labels.dim() == 2)
                    losses = self.classifier.losses(output, labels.expand(self.stack.models, -1))
                # no model's loss depends on another's parameters: the gradient of the sum is each one's own
                losses.sum().backward()
                step()
                schedule.step()
                self._train.append(torch.stack([losses.detach(), torch.full_like(losses, labels.shape[-1])]))
                if self.trainer.received_sigterm:
                    raise SIGTERMException

    def validation_step(self, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        inputs, labels, _ = batch
        logits = logits_of(self.stack(inputs))[0].float()
        everyone = labels.expand(len(logits), -1)
        losses = functional.cross_entropy(logits.flatten(0, 1), everyone.flatten(), reduction="none")
        loss = losses.view(len(logits), -1).sum(1)
        correct = (logits.argmax(2) == everyone).sum(1).float()
        self._val.append(torch.stack([loss, correct, torch.full_like(loss, len(labels))]))

    def on_train_epoch_end(self) -> None:
        seconds = (time.monotonic() - self._started) / self.stack.models
        train = torch.stack(self._train).cpu().double()
        total, counts = (train[:, 0] * train[:, 1]).sum(0), train[:, 1].sum(0)
        means = (total / counts).tolist()
        validated = [(math.nan, math.nan)] * self.stack.models
        if self._val:
            loss, correct, count = torch.stack(self._val).cpu().double().sum(0)
            validated = list(zip((loss / count).tolist(), (correct / count).tolist(), strict=True))
        self._train.clear()
        self._val.clear()
        for model, (mean, val) in enumerate(zip(means, validated, strict=True)):
            if self.diverged[model] is None:
                self._record(model, mean, val, seconds)

    def _record(self, model: int, mean: float, validated: tuple[float, float], seconds: float) -> None:
        history = self.histories[model]
        history.append(history_row(len(history), mean, validated, seconds))
        try:
            refuse_divergence(history[-1])
        except TrainingDivergedError as error:
            self.diverged[model] = error
            return
        if self.classifier.keep is Keep.best and best_epoch(history) == len(history) - 1:
            self.best[model] = self.stack.state(model)

    def results(self) -> list[Result]:
        return [self._result(model) for model in range(self.stack.models)]

    def _result(self, model: int) -> Result:
        history, best = self.histories[model], self.best[model]
        last = len(history) - 1
        if best is not None:
            return Result(history, best_epoch(history), best, self.diverged[model])
        return Result(history, last, self.stack.state(model), self.diverged[model])
