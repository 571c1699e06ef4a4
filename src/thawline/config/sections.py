"""The configuration: one dataclass per section, one field per value.

Under each field stands what it means and its unit. Checks live in `__post_init__` and raise
`FieldError`, which names the field, the value and what is allowed.
"""

from dataclasses import dataclass, field
from typing import Any

from thawline.config.architectures import ARCHITECTURES
from thawline.config.choices import (
    EMBEDDED as EMBEDDED,
)
from thawline.config.choices import (
    AugmentationName as AugmentationName,
)
from thawline.config.choices import (
    ClassWeights as ClassWeights,
)
from thawline.config.choices import (
    Contender as Contender,
)
from thawline.config.choices import (
    DataSetName as DataSetName,
)
from thawline.config.choices import (
    Fit as Fit,
)
from thawline.config.choices import (
    Keep as Keep,
)
from thawline.config.choices import (
    OptimizerName as OptimizerName,
)
from thawline.config.choices import (
    Precision as Precision,
)
from thawline.config.choices import (
    PrunerName as PrunerName,
)
from thawline.config.choices import (
    Role as Role,
)
from thawline.config.choices import (
    SamplerName as SamplerName,
)
from thawline.config.choices import (
    ScheduleName as ScheduleName,
)
from thawline.config.choices import (
    Start as Start,
)
from thawline.config.errors import FieldError, closest


def _require(ok: bool, name: str, value: object, allowed: str) -> None:
    if not ok:
        raise FieldError(name, value, allowed)


def _positive(section: object, *names: str) -> None:
    for name in names:
        value = getattr(section, name)
        _require(value is None or value > 0, name, value, "greater than 0")


def _in_unit_interval(section: object, *names: str) -> None:
    for name in names:
        value = getattr(section, name)
        _require(value is None or 0 <= value < 1, name, value, "at least 0 and below 1")


def _not_negative(section: object, *names: str) -> None:
    for name in names:
        value = getattr(section, name)
        _require(value is None or value >= 0, name, value, "0 or more")


@dataclass
class DataSet:
    """Where labelled pictures come from and how they are split."""

    dataset: DataSetName | None = None
    """The named data set."""
    root: str | None = None
    """image_folder: the folder or .tar/.zip with one sub-folder per class (or train/val/test
    folders of them). torchvision's data sets: the folder they lie in or are downloaded to.
    Not used by the embedded data sets."""
    watch: str = "constraints.txt"
    """The path whose content DVC compares to decide whether the pictures changed. Computed when the
    configuration is composed: the root as an absolute path; for embedded data sets the pins of the
    packages they are taken from."""
    download: bool = False
    """torchvision's data sets only: fetch what is missing under `root`."""
    train_per_class: int | None = None
    """Labelled training pictures kept of each class; null keeps all."""
    val_per_class: int | None = None
    """Validation pictures taken from each class; null uses `val_fraction`."""
    val_fraction: float = 0.2
    """Share of the training pictures used for validation where the data set names none."""
    test_fraction: float = 0.25
    """Share of all pictures used as the test split where the data set names none."""
    near_duplicate_bits: int = 2
    """Pictures whose 64-bit perceptual hashes differ in at most this many bits are kept on one side
    of every split; -1 switches the comparison off."""
    mirror: bool = False
    """Whether a mirrored picture keeps its label (lets `augmentation: standard` flip)."""

    def __post_init__(self) -> None:
        _positive(self, "train_per_class", "val_per_class")
        _in_unit_interval(self, "val_fraction", "test_fraction")
        _require(
            -1 <= self.near_duplicate_bits <= 32,
            "near_duplicate_bits",
            self.near_duplicate_bits,
            "from -1 (off) to 32 bits",
        )
        _require(
            self.root is not None or self.dataset is None or self.dataset in EMBEDDED,
            "root",
            self.root,
            f"a folder (or .tar/.zip) with pictures, because dataset is "
            f"{self.dataset.name if self.dataset else None}",
        )


@dataclass
class Source(DataSet):
    """The data set the source model is pretrained on, or the weights used instead."""

    weights: str | None = None
    """Published or local weights instead of pretraining: a torchvision weights name (`DEFAULT`,
    `IMAGENET1K_V1`) or the path of a .safetensors/.pth/.pt state dict. null pretrains on `dataset`."""
    glyphs_per_class: int = 320
    """glyphs only: pictures drawn of each of the 52 letters."""
    scan_px: int = 8
    """glyphs only: side in pixels each letter is reduced to before it is enlarged to the input size,
    as the scanner of the digits did."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive(self, "glyphs_per_class", "scan_px")
        _require(
            (self.dataset is None) != (self.weights is None),
            "weights",
            self.weights,
            "set if and only if `dataset` is null (a source is either pictures or weights)",
        )


@dataclass
class Target(DataSet):
    """The data set the model is fine-tuned for."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(self.dataset is not None, "dataset", self.dataset, "a data set's name")


@dataclass
class Input:
    """What the network is given."""

    size: int | None = 32
    """Side of the square input in pixels. null: as the source weights' own preset says."""
    resize: int | None = None
    """Side the shorter edge is resized to before the centre crop to `size`; null: equal to `size`."""
    channels: int = 3
    """1 (gray) or 3 (RGB)."""
    fit: Fit = Fit.crop
    """How a picture becomes square: centre crop, squash, or pad with black."""
    mean: list[float] | None = None
    """Per channel, in units of the range 0..1; null: 0.5, or the source weights' own preset."""
    std: list[float] | None = None
    """Per channel, in units of the range 0..1; null: 0.25, or the source weights' own preset."""

    def __post_init__(self) -> None:
        _positive(self, "size", "resize")
        _require(self.channels in (1, 3), "channels", self.channels, "1 (gray) or 3 (RGB)")
        _require(
            self.size is None or self.resize is None or self.resize >= self.size,
            "resize",
            self.resize,
            f"at least size ({self.size})",
        )
        for name in ("mean", "std"):
            values = getattr(self, name)
            _require(
                values is None or len(values) == self.channels,
                name,
                values,
                f"{self.channels} numbers, one per channel",
            )
        _require(self.std is None or min(self.std) > 0, "std", self.std, "numbers greater than 0")


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
        _require(
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
        _positive(self, "epochs", "batch_size")
        _not_negative(self, "weight_decay")
        _in_unit_interval(self, "momentum", "warmup", "label_smoothing")


@dataclass
class Pretrain(Optimization):
    """Training the source model from scratch on the source data."""

    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive(self, "learning_rate")


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
        _positive(self, "body_lr", "head_lr", "seeds")
        _not_negative(self, "early_stopping")
        _require(
            self.head_lr is not None or self.body_lr is not None,
            "head_lr",
            self.head_lr,
            "a learning rate, because body_lr is null and head_lr cannot default to 10 x body_lr",
        )
        if isinstance(self.depth, float):
            _require(0 < self.depth < 1, "depth", self.depth, "a fraction strictly between 0 and 1")
        if isinstance(self.depth, int):
            _require(self.depth >= 0, "depth", self.depth, "a count of 0 or more frozen units")
        _require(
            self.start is Start.random or self.depth == "all" or self.body_lr is not None,
            "body_lr",
            self.body_lr,
            "a learning rate, because some of the body is not frozen (depth is not all)",
        )
        _require(
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
        _positive(self, "low")
        _require(self.high > self.low, "high", self.high, f"greater than low ({self.low})")


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
        _positive(self, "trials", "startup_trials")
        _require(
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
        _positive(self, "resamples", "calibration_bins", "batch_size", "confidence")
        _require(self.confidence < 1, "confidence", self.confidence, "between 0 and 1")


@dataclass
class Report:
    """The page and its figures."""

    title: str = "What the last reproduction found"
    dpi: int = 110
    """Resolution of the figures in dots per inch."""

    def __post_init__(self) -> None:
        _positive(self, "dpi")


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
        _require(self.devices == 1, "devices", self.devices, "1 (several devices are not built yet)")
        _not_negative(self, "threads")
        choices = ("auto", "cpu", "gpu", "cuda", "mps")
        _require(self.accelerator in choices, "accelerator", self.accelerator, ", ".join(choices))


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
        _require(0 <= self.seed < 2**31, "seed", self.seed, "from 0 to 2147483647")
        if self.source.weights is None:
            _require(
                self.input.size is not None,
                "input.size",
                self.input.size,
                "a side in pixels (only source weights bring their own)",
            )
