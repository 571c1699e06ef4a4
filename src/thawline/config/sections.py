"""The configuration: one dataclass per section, one field per value.

Under each field stands what it means and its unit. Checks live in `__post_init__` and raise
`FieldError`, which names the field, the value and what is allowed.
"""

from dataclasses import dataclass, field
from typing import Any

from thawline.config.architectures import ARCHITECTURES
from thawline.config.checks import not_negative, positive, require
from thawline.config.choices import (
    EMBEDDED,
    AugmentationName,
    BatchNorm,
    ClassWeights,
    Contender,
    DataSetName,
    Fit,
    HeadVariant,
    Keep,
    Method,
    Mix,
    OptimizerName,
    Phases,
    Precision,
    PrunerName,
    Role,
    SamplerName,
    ScheduleName,
    Start,
)
from thawline.config.errors import closest
from thawline.config.pictures import DataSet, Input, Source, Target
from thawline.config.recipe import Finetune, Optimization, Pretrain

__all__ = [
    "AugmentationName",
    "BatchNorm",
    "ClassWeights",
    "Config",
    "Contender",
    "DataSet",
    "DataSetName",
    "EMBEDDED",
    "Evaluate",
    "Finetune",
    "Fit",
    "HeadVariant",
    "Input",
    "Keep",
    "Method",
    "Mix",
    "Model",
    "Optimization",
    "OptimizerName",
    "Phases",
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
    head: HeadVariant = HeadVariant.linear
    """The target's new head: one linear layer; dropout (0.2) before it; or two layers with a GELU between."""

    def __post_init__(self) -> None:
        own = "." in self.architecture or self.architecture.startswith("timm:")
        require(
            own or self.architecture in ARCHITECTURES,
            "architecture",
            self.architecture,
            closest(self.architecture, ARCHITECTURES),
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
