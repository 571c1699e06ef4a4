"""The configuration: one dataclass per section, one field per value.

Under each field stands what it means and its unit. Checks live in `__post_init__` and raise
`FieldError`, which names the field, the value and what is allowed.
"""

from dataclasses import dataclass, field
from typing import Any

from thawline.config.architectures import ARCHITECTURES
from thawline.config.checks import in_unit_interval, not_negative, positive, require
from thawline.config.choices import (
    EMBEDDED,
    AugmentationName,
    ClassWeights,
    Contender,
    DataSetName,
    Fit,
    Keep,
    OptimizerName,
    Precision,
    PrunerName,
    Role,
    SamplerName,
    ScheduleName,
    Start,
)
from thawline.config.errors import closest
from thawline.config.pictures import DataSet, Input, Source, Target

__all__ = [
    "AugmentationName",
    "ClassWeights",
    "Config",
    "Contender",
    "DataSet",
    "DataSetName",
    "EMBEDDED",
    "Evaluate",
    "Finetune",
    "Fit",
    "Input",
    "Keep",
    "Model",
    "Optimization",
    "OptimizerName",
    "Precision",
    "Pretrain",
    "PrunerName",
    "Range",
    "Report",
    "Role",
    "SamplerName",
    "ScheduleName",
    "Search",
    "Source",
    "Start",
    "Target",
    "Tracking",
    "Trainer",
]


@dataclass
class Model:
    """The network."""

    architecture: str = "resnet18"
    """A torchvision classification builder (`resnet18`), a timm model (`timm:resnet18`), or the
    dotted path of a class of your own that takes `num_classes`."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further keyword arguments of the builder."""

    def __post_init__(self) -> None:
        own = "." in self.architecture or self.architecture.startswith("timm:")
        require(
            own or self.architecture in ARCHITECTURES,
            "architecture",
            self.architecture,
            closest(self.architecture, ARCHITECTURES),
        )


@dataclass
class Optimization:
    """What pretraining and fine-tuning share."""

    epochs: int = 3
    """Passes over the training pictures."""
    batch_size: int = 64
    """Pictures per optimizer step."""
    optimizer: OptimizerName = OptimizerName.adamw
    momentum: float = 0.9
    """sgd only."""
    weight_decay: float = 0.01
    """Decoupled for adamw, L2 for sgd; never applied to biases and normalisation parameters."""
    schedule: ScheduleName = ScheduleName.cosine
    """Shape of the learning rate after warm-up, as a factor from 1 to 0 (constant: stays 1)."""
    warmup: float = 0.1
    """Share of all steps over which the learning rate rises linearly from 0."""
    label_smoothing: float = 0.0
    augmentation: AugmentationName = AugmentationName.none

    def __post_init__(self) -> None:
        positive(self, "epochs", "batch_size")
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
class Finetune(Optimization):
    """The recipe: everything that decides one fine-tuning."""

    start: Start = Start.source
    """Where the body begins: the source model's weights, or a random initialisation (from scratch)."""
    depth: int | float | str = 0
    """Frozen leading units: a count (0 = full fine-tuning), a fraction of all units strictly between
    0 and 1, the name of the last frozen unit, or `all` (linear probe)."""
    body_lr: float | None = 3e-4
    """Learning rate of the unfrozen parameters copied from the source model."""
    head_lr: float | None = None
    """Learning rate of the randomly initialised parameters (the head; everything when `start` is
    random); null: 10 x body_lr."""
    early_stopping: int = 0
    """Epochs without a better validation loss after which training stops; 0 never stops early."""
    keep: Keep = Keep.last
    """Weights kept: of the last epoch, or of the epoch with the best validation accuracy (ties: the
    lower validation loss)."""
    class_weights: ClassWeights = ClassWeights.none
    """balanced: the loss weighs each class by the inverse of its share of the training pictures."""
    seeds: int = 3
    """Fine-tunings of the chosen recipe, each with its own head, order and augmentation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "body_lr", "head_lr", "seeds")
        not_negative(self, "early_stopping")
        require(
            self.head_lr is not None or self.body_lr is not None,
            "head_lr",
            self.head_lr,
            "a learning rate, because body_lr is null and head_lr cannot default to 10 x body_lr",
        )
        if isinstance(self.depth, float):
            require(0 < self.depth < 1, "depth", self.depth, "a fraction strictly between 0 and 1")
        if isinstance(self.depth, int):
            require(self.depth >= 0, "depth", self.depth, "a count of 0 or more frozen units")
        require(
            self.start is Start.random or self.depth == "all" or self.body_lr is not None,
            "body_lr",
            self.body_lr,
            "a learning rate, because some of the body is not frozen (depth is not all)",
        )
        require(
            self.start is Start.source or self.depth == 0,
            "depth",
            self.depth,
            "0, because start is random and freezing random weights trains nothing useful",
        )


@dataclass
class Range:
    """An interval searched on a logarithmic scale."""

    low: float = 3e-4
    high: float = 3e-2

    def __post_init__(self) -> None:
        positive(self, "low")
        require(self.high > self.low, "high", self.high, f"greater than low ({self.low})")


@dataclass
class Search:
    """The study that chooses depth and learning rates on the validation pictures."""

    enabled: bool = True
    """false: the configured recipe passes through unchanged."""
    trials: int = 15
    """Trials in all, per contender; a rerun adds only the missing ones."""
    sampler: SamplerName = SamplerName.tpe
    startup_trials: int = 6
    """Random trials before the sampler starts to learn from them."""
    pruner: PrunerName = PrunerName.median
    depths: list[int] | None = None
    """Depths searched; null: every one, from 0 to all units."""
    head_lr: Range = field(default_factory=lambda: Range(3e-4, 3e-2))
    """For the head of a network that comes from the source model."""
    scratch_lr: Range = field(default_factory=lambda: Range(1e-4, 1e-2))
    """For the whole network where it is trained from scratch."""
    body_lr: Range = field(default_factory=lambda: Range(3e-5, 3e-3))
    """For unfrozen parameters that start from the source model."""

    def __post_init__(self) -> None:
        positive(self, "trials", "startup_trials")
        require(
            self.depths is None or (len(self.depths) > 0 and min(self.depths) >= 0),
            "depths",
            self.depths,
            "null or a list of counts of frozen units, each 0 or more",
        )


@dataclass
class Evaluate:
    """Measuring on the test split."""

    resamples: int = 2000
    """Bootstrap resamples behind every interval."""
    confidence: float = 0.95
    """Coverage of every interval."""
    calibration_bins: int = 15
    """Equal-width confidence bins of the expected calibration error."""
    batch_size: int = 256

    def __post_init__(self) -> None:
        positive(self, "resamples", "calibration_bins", "batch_size", "confidence")
        require(self.confidence < 1, "confidence", self.confidence, "between 0 and 1")


@dataclass
class Report:
    """The page and its figures."""

    title: str = "What the last reproduction found"
    dpi: int = 110
    """Resolution of the figures in dots per inch."""

    def __post_init__(self) -> None:
        positive(self, "dpi")


@dataclass
class Tracking:
    """Where runs are recorded."""

    uri: str = "sqlite:///mlflow.db"
    """MLflow tracking URI; a relative sqlite path is taken from the repository's root."""
    experiment: str = "thawline"


@dataclass
class Trainer:
    """How Lightning uses the machine. Nothing here changes what a recipe means."""

    accelerator: str = "auto"
    devices: int = 1
    precision: Precision = Precision.auto
    """auto: bfloat16 autocast on a GPU that supports it, else float32."""
    threads: int = 0
    """CPU threads of the process; 0: one per core. Results are bit-identical for equal counts."""

    def __post_init__(self) -> None:
        require(self.devices == 1, "devices", self.devices, "1 (several devices are not built yet)")
        not_negative(self, "threads")
        choices = ("auto", "cpu", "gpu", "cuda", "mps")
        require(self.accelerator in choices, "accelerator", self.accelerator, ", ".join(choices))


@dataclass
class Config:
    """Everything. One field per section; sections share their names with stages and modules."""

    seed: int = 0
    """Decides every random choice; equal seeds give equal results on one machine type."""
    role: Role = Role.target
    """Which data set `prepare` prepares (given by each entry of dvc.yaml)."""
    contender: Contender = Contender.finetuned
    """Which contender `search` and `finetune` work on (given by each entry of dvc.yaml)."""
    source: Source = field(default_factory=lambda: Source(dataset=DataSetName.glyphs))
    target: Target = field(default_factory=lambda: Target(dataset=DataSetName.digits))
    input: Input = field(default_factory=Input)
    model: Model = field(default_factory=Model)
    pretrain: Pretrain = field(default_factory=Pretrain)
    finetune: Finetune = field(default_factory=Finetune)
    search: Search = field(default_factory=Search)
    evaluate: Evaluate = field(default_factory=Evaluate)
    report: Report = field(default_factory=Report)
    tracking: Tracking = field(default_factory=Tracking)
    trainer: Trainer = field(default_factory=Trainer)

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**31, "seed", self.seed, "from 0 to 2147483647")
        if self.source.weights is None:
            require(
                self.input.size is not None,
                "input.size",
                self.input.size,
                "a side in pixels (only source weights bring their own)",
            )
