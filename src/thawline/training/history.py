"""What a training leaves behind: a row for every epoch, which epoch was kept, and what it cost."""

import math
from dataclasses import dataclass, field

from thawline.config.errors import UserError
from thawline.models.state import State

COLUMNS = ("epoch", "train_loss", "val_loss", "val_accuracy", "seconds")

Row = dict[str, float]
"""One finished epoch, with the keys `COLUMNS`."""


class TrainingDivergedError(UserError):
    """The loss is no longer a finite number."""


@dataclass(frozen=True)
class Fitted:
    """A fine-tuning's result besides the changed network.

    `history` has a row per epoch; `epoch` is the one whose weights the network now holds. Where the
    weights were averaged after the last epoch, one more row says what the average achieves (its training
    loss is NaN). `cost` is as of `cost.measured`; `soup` are the trainings that were averaged into the kept
    weights, None without a soup. `before` has the network's tensors at the end of likelihood training where a
    reward phase followed.
    """

    history: list[Row]
    epoch: int
    cost: dict[str, float] = field(default_factory=dict)
    soup: tuple[int, ...] | None = None
    before: State | None = None

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


def history_row(epoch: int, train_loss: float, validated: tuple[float, float], seconds: float) -> Row:
    """Return the row of an epoch; `validated` is (loss, accuracy). Weights that no epoch trained have the
    training loss NaN."""
    return dict(zip(COLUMNS, (epoch, train_loss, *validated, seconds), strict=True))


def best_epoch(history: list[Row]) -> int:
    """Return the epoch with the best validation accuracy; ties go to the lower loss, then the earlier. One
    whose loss is not a number comes last."""

    def order(row: Row) -> tuple[float, ...]:
        return not math.isfinite(row["val_loss"]), -row["val_accuracy"], row["val_loss"], row["epoch"]

    return int(min(history, key=order)["epoch"])


def refuse_divergence(row: Row) -> None:
    """Raise `TrainingDivergedError` where the training loss is infinite or NaN: all after it is lost time."""
    if not math.isfinite(row["train_loss"]):
        raise _diverged(row, "training", "train_loss")


def refuse_divergence_at_last(row: Row) -> None:
    """Raise `TrainingDivergedError` where the validation loss of what is kept is infinite or NaN: it answers
    with no numbers. Epochs before may have done so too, and recovered. Without validation pictures their
    accuracy is NaN, and nothing is known."""
    if not math.isfinite(row["val_loss"]) and not math.isnan(row["val_accuracy"]):
        raise _diverged(row, "validation", "val_loss")


def _diverged(row: Row, which: str, name: str) -> TrainingDivergedError:
    return TrainingDivergedError(
        f"the {which} loss became {row[name]} in epoch {row['epoch'] + 1}.\n"
        "  lower the learning rate, or raise warmup"
    )
