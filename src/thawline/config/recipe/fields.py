"""Fields that decide one training: the sections `pretrain` and `finetune`.

A fine-tuning is one point in one space. Its axes are independent of each other: where the weights start,
which units are frozen, what learns in the others (`method`), in which phases, at which rates, what pulls
the weights back or averages them, and what is done to the pictures.
"""

from dataclasses import dataclass
from typing import Any

from thawline.config.checks import in_unit_interval, not_negative, positive, require
from thawline.config.choices import (
    AugmentationName,
    BatchNorm,
    ClassWeights,
    Keep,
    LossName,
    Mix,
    OptimizerName,
    Phases,
    ScheduleName,
    Start,
)
from thawline.config.recipe.meaning import needs_body_rate, ruled_out
from thawline.config.recipe.methods import Method, MethodFields
from thawline.config.recipe.rewards import RewardFields

AUTO = "auto"
"""Instead of a list of cuts: out-of-fold predictions choose them."""

HEAD_TO_BODY = 10.0
"""Ratio of the head's learning rate to the body's where only the body's is given."""


@dataclass
class Optimization:
    """Fields that pretraining and fine-tuning share."""

    epochs: int = 3
    """Passes over the training pictures."""
    batch_size: int = 64
    """Pictures per optimizer step."""
    optimizer: OptimizerName = OptimizerName.adamw
    """adamw (Loshchilov & Hutter 2019), sgd with momentum, or lamb (You et al. 2020)."""
    momentum: float = 0.9
    """sgd only."""
    weight_decay: float = 0.01
    """Decoupled for adamw and lamb, L2 for sgd."""
    decay_all: bool = False
    """Weight decay on biases and normalisation parameters too."""
    schedule: ScheduleName = ScheduleName.cosine
    """Shape of the learning rate after warm-up, as a factor from 1 to 0 (constant: stays 1; step: a
    tenth after 30, 60 and 90 % of the steps; one_cycle: rises along a cosine during warm-up too)."""
    warmup: float = 0.1
    """Share of all steps over which the learning rate rises from near 0."""
    label_smoothing: float = 0.0
    augmentation: AugmentationName = AugmentationName.none
    """none; mirror (each picture and its mirror image in turn, where the task allows it: a solved head sees
    both); standard (zoom, stretch, turn, shift, mirror where the task allows it); rand_augment (Cubuk
    et al. 2020) or trivial_augment (Mueller & Hutter 2021), each after the standard mirroring."""
    mix: Mix = Mix.none
    """Pairs of pictures and their labels mixed: mixup (Zhang et al. 2018) or cutmix (Yun et al. 2019)."""
    mix_alpha: float = 0.2
    """Both parameters of the Beta distribution the share of the first picture is drawn from."""

    def __post_init__(self) -> None:
        positive(self, "epochs", "batch_size", "mix_alpha")
        not_negative(self, "weight_decay")
        in_unit_interval(self, "momentum", "warmup", "label_smoothing")


@dataclass
class Pretrain(Optimization):
    """Training the source model from scratch on the source data."""

    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "learning_rate")


@dataclass
class Finetune(Optimization, MethodFields, RewardFields):
    """The recipe: everything that decides one fine-tuning. Once it is made, `head_lr` is a number.

    Which fields mean something in which recipe is said in `thawline.config.recipe.meaning`.
    """

    start: Start = Start.source
    """Start of the body: the source model's weights, or a random initialisation (from scratch)."""
    depth: int | float | str = 0
    """Frozen leading units: a count (0 = full fine-tuning), a fraction of all units strictly between
    0 and 1, the name of the last frozen unit, or `all` (linear probe)."""
    units: list[str] | None = None
    """Names of the only units (or modules made of units) that learn, wherever they are (surgical
    fine-tuning, Lee et al. 2023); null: all after `depth`."""
    method: Method = Method.full
    """Method by which the unfrozen units learn: full, bias (BitFit), norm (normalisation layers), scale_shift
    (SSF), lora, adapter (a bottleneck after each unit), prompt (tokens for a transformer). The head
    always learns."""
    frozen_batch_norm: BatchNorm = BatchNorm.frozen
    """BatchNorm in frozen units. frozen: nothing changes and stored statistics normalise; statistics:
    normalises by the batch and goes on estimating; affine: scale and shift learn; train: both."""
    batch_norm: BatchNorm = BatchNorm.train
    """BatchNorm in unfrozen units; scale and shift learn only where `method` lets them, too. What a method
    adds beside them (scale_shift, lora) learns whatever is said here."""
    phases: Phases = Phases.one
    """one; probe_first: the head alone, then everything at body_lr (LP-FT, Kumar et al. 2022); gradual:
    one more unit at a time, from the head down (Howard & Ruder 2018)."""
    phase_share: float = 0.5
    """Share of the epochs before everything that may learn does (gradual; probe_first only where the head is
    not linear, because a linear one is solved and takes no epochs)."""
    body_lr: float | None = 3e-4
    """Learning rate of what learns in the body, the last unit's where layer_decay is below 1."""
    head_lr: float | None = None
    """Learning rate of the randomly initialised parameters (the head; everything when `start` is
    random); null: 10 x body_lr."""
    head_cuts: Any = None
    """Cuts that a solved head reads: null, the last one alone (the linear probe of a search: auto); auto,
    those that out-of-fold predictions choose; or a list of counts of leading units, or names of units, whose
    output is read besides the last cut ([]: the last alone). Where fine-tuning follows, cuts inside the
    frozen units are left out."""
    head_penalty: float | None = None
    """L2 penalty of a solved head on standardised features: half of it times the squared norm of the weights
    is added to the summed loss of the pictures. null: chosen from a path of penalties by how well heads
    predict training pictures that they were not solved on."""
    head_scale: float = 1.0
    """Factor on a solved head's weights and biases before everything is fine-tuned (probe_first)."""
    layer_decay: float = 1.0
    """Each unit learns this factor slower than the one after it; 1: all alike."""
    l2_sp: float = 0.0
    """Pull of the body towards the source model's weights in place of weight decay: the loss gains
    l2_sp / 2 times the squared distance (Li et al. 2018); 0: none."""
    ema: float = 0.0
    """Decay per step of an exponential moving average of the weights, which is what is validated and
    kept; 0: none."""
    wise_ft: float = 1.0
    """Share of the fine-tuned body in the kept one, the rest is the source's (Wortsman et al. 2022a)."""
    soup: int = 1
    """Trainings per seed, from one head, whose weights are averaged as long as the validation accuracy
    does not fall (greedy soup, Wortsman et al. 2022b); 1: no soup."""
    early_stopping: int = 0
    """Epochs without a better validation loss after which a phase stops; 0 never stops early."""
    views: int = 0
    """Variants that augmentation makes of each picture, which epochs take in turn, so that the frozen units
    can be computed once for each; 0: a new one every epoch. `mirror` makes two, whatever is said here."""
    keep: Keep = Keep.last
    """Weights kept: of the last epoch, or of the epoch of any phase with the best validation accuracy (ties:
    the lower validation loss). Each phase starts from the last epoch of the one before in either case."""
    class_weights: ClassWeights = ClassWeights.none
    """balanced: the loss weighs each class by the inverse of its share of the training pictures."""
    loss: LossName = LossName.cross_entropy
    """cross_entropy; or, where labels may be wrong, one that a single label can cost only so much:
    generalised (Zhang & Sabuncu 2018), symmetric (Wang et al. 2019)."""
    loss_q: float = 0.7
    """generalised: from near 0, the cross-entropy, to 1, the mean absolute error, which heeds wrong labels
    least and learns slowest."""
    loss_reverse: float = 0.9
    """symmetric: share of the reverse cross-entropy, the rest is the cross-entropy."""
    seeds: int = 3
    """Fine-tunings of the chosen recipe, each with its own head, order and augmentation."""
    refit: bool = False
    """The final fine-tunings learn from the validation pictures too, once these have chosen the recipe; then
    nothing can choose between epochs or seeds."""

    def __post_init__(self) -> None:
        Optimization.__post_init__(self)
        MethodFields.__post_init__(self)
        RewardFields.__post_init__(self)
        positive(self, "body_lr", "head_lr", "head_scale", "seeds", "soup", "layer_decay", "wise_ft")
        positive(self, "phase_share", "head_penalty")
        not_negative(self, "early_stopping", "l2_sp", "views")
        in_unit_interval(self, "ema", "phase_share", "loss_reverse")
        require(0 < self.loss_q <= 1, "loss_q", self.loss_q, "above 0 and at most 1")
        for name in ("layer_decay", "wise_ft"):
            require(getattr(self, name) <= 1, name, getattr(self, name), "above 0 and at most 1")
        self._resolve_rates()
        self._check_depth()
        self._check_refit()
        self._check_cuts()
        for name, (only, reason) in ruled_out(vars(self)).items():
            shown = "null" if only is None else getattr(only, "name", only)
            require(getattr(self, name) == only, name, getattr(self, name), f"{shown}, {reason}")

    def _resolve_rates(self) -> None:
        require(
            self.head_lr is not None or self.body_lr is not None,
            "head_lr",
            self.head_lr,
            "a learning rate, because body_lr is null and head_lr cannot default to 10 x body_lr",
        )
        require(
            self.body_lr is not None or not needs_body_rate(vars(self), self.depth == "all"),
            "body_lr",
            self.body_lr,
            "a learning rate, because some of the body learns (depth is not all, or frozen_batch_norm is "
            "affine or train)",
        )
        if self.head_lr is None and self.body_lr is not None:
            self.head_lr = HEAD_TO_BODY * self.body_lr

    def _check_refit(self) -> None:
        if not self.refit:
            return
        choosing = {"keep": Keep.last, "early_stopping": 0, "soup": 1}
        chooses = next((name for name, only in choosing.items() if getattr(self, name) != only), None)
        allowed = f"false, because {chooses} chooses by validation pictures, which refit leaves none of"
        require(chooses is None, "refit", self.refit, allowed)

    def _check_cuts(self) -> None:
        cuts = self.head_cuts
        known = cuts is None or cuts == AUTO or isinstance(cuts, list)
        each = cuts if isinstance(cuts, list) else []
        right = all(isinstance(cut, str) or (type(cut) is int and cut >= 1) for cut in each)
        allowed = "null, auto, or a list of counts of 1 or more leading units, or names of units"
        require(known and right, "head_cuts", cuts, allowed)

    def _check_depth(self) -> None:
        if isinstance(self.depth, float):
            require(0 < self.depth < 1, "depth", self.depth, "a fraction strictly between 0 and 1")
        if isinstance(self.depth, int):
            require(self.depth >= 0, "depth", self.depth, "a count of 0 or more frozen units")
        if self.units is not None:
            require(len(self.units) > 0, "units", self.units, "null or the names of at least one unit")
            allowed = "0, because units says which units learn and all others are frozen"
            require(self.depth == 0, "depth", self.depth, allowed)
