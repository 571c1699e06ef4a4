"""The configuration: one dataclass per section, one field per value.

Under each field stands what it means and its unit. Checks live in `__post_init__` and raise
`FieldError`, which names the field, the value and what is allowed.
"""

from dataclasses import dataclass, field
from typing import Any

from thawline.config.architectures import ARCHITECTURES, is_architecture
from thawline.config.checks import not_negative, positive, require
from thawline.config.choices import (
    EMBEDDED,
    AugmentationName,
    BatchNorm,
    ClassWeights,
    Contender,
    DataSetName,
    Engine,
    ExportFormat,
    Fit,
    Goal,
    HeadVariant,
    Keep,
    Mix,
    Objective,
    OptimizerName,
    Phases,
    Precision,
    PrunerName,
    Role,
    SamplerName,
    ScheduleName,
    Start,
    ValidationName,
)
from thawline.config.errors import FieldError, closest
from thawline.config.pictures import DataSet, Input, Source, Target
from thawline.config.recipe.fields import Finetune, Optimization, Pretrain
from thawline.config.recipe.methods import Method
from thawline.config.search import Limit, Range, Search, Space
from thawline.config.supervision import Supervise


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
        if not is_architecture(self.architecture):  # looking for names like it takes milliseconds
            raise FieldError("architecture", self.architecture, closest(self.architecture, ARCHITECTURES))


@dataclass
class Plan:
    """What is done in the time there is."""

    minutes: float | None = None
    """For everything from the first stage to the report; null: as many trials, epochs and seeds as are
    configured, however long they take. With minutes these are decided once, after a few steps were timed, and
    kept in artifacts/plan/plan.json."""

    def __post_init__(self) -> None:
        positive(self, "minutes")


@dataclass
class Review:
    """The look at training and validation pictures."""

    repeats: int = 4
    """How often each picture is left out; more repeats make the curve steadier and take longer."""
    labels: int = 60
    """Doubtful labels that are shown at most, with a thumbnail of each."""

    def __post_init__(self) -> None:
        positive(self, "repeats", "labels")


@dataclass
class Evaluate:
    """Measuring on the test split."""

    resamples: int = 2000
    """Resamples behind the corrected score and the recommendation."""
    confidence: float = 0.95
    """Coverage of every interval."""
    calibration_bins: int = 15
    """Equal-width confidence bins of the expected calibration error."""
    batch_size: int = 256
    costs: str | None = None
    """A CSV file of what each decision (column) costs where a class (row) is the true one, with the classes'
    names in the first row and the first column; then decisions are those of least expected cost. null: every
    mistake costs the same."""
    costs_watch: str = "constraints.txt"
    """What DVC compares to notice that the table was changed (computed)."""
    reward_watch: str = "constraints.txt"
    """The same, for the search of a recipe that is rewarded by these costs (computed)."""

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
class Export:
    """The model to take elsewhere."""

    formats: list[ExportFormat] = field(default_factory=lambda: [ExportFormat.bundle])
    """bundle: for `thawline predict`, always written. onnx, torch_export: one file, the preprocessing
    inside, written if it answers as the bundle does. mlflow: logged and registered. onnx_int8: quantised,
    written if it is faster and no worse on the validation pictures."""
    registered_model: str = "thawline"
    """Name in MLflow's model registry."""
    unknown_share: float = 0.01
    """Share of pictures like the training ones that may be called unknown; a smaller one misses more of
    those that are unlike them."""

    def __post_init__(self) -> None:
        positive(self, "unknown_share")
        require(self.unknown_share < 1, "unknown_share", self.unknown_share, "between 0 and 1")
        once = len(set(self.formats)) == len(self.formats)
        names = [each.name for each in self.formats]
        require(once, "formats", names, f"some of {', '.join(ExportFormat.__members__)}, each once")
        require(
            bool(self.registered_model) and not set("/:") & set(self.registered_model),
            "registered_model",
            self.registered_model,
            "a name without / and :",
        )


@dataclass
class Tracking:
    """Records of runs."""

    uri: str = "sqlite:///mlflow.db"
    """MLflow tracking URI; a relative sqlite path is taken from the repository's root."""
    experiment: str = "thawline"


@dataclass
class Trainer:
    """Use of the machine by Lightning. Nothing here changes what a recipe means."""

    accelerator: str = "auto"
    devices: int = 1
    """Processes on this machine that train one network together (Lightning DDP); each takes its share of
    every batch. Pretraining and fine-tuning only: `search.workers` runs trials side by side."""
    nodes: int = 1
    """Machines that do so, each with `devices` processes; started with torchrun on every one of them."""
    precision: Precision = Precision.auto
    """auto: bfloat16 autocast on a GPU that supports it, else float32."""
    threads: int = 0
    """CPU threads of each process; 0: its share of the cores. Results are bit-identical for equal counts."""
    prefix_cache: bool = True
    """Store what the frozen units make of each picture, wherever that stays the same, and read it in every
    epoch, trial and seed."""
    prefix_cache_gib: float = 8.0
    """Room for all that is stored, in GiB; what was not used for the longest time makes way."""
    memory_gib: float | None = None
    """Memory that one training process may take, in GiB: batches that need more are computed in parts whose
    gradients are added up. The optimizer's steps stay the same, but for what sees a batch as a whole (batch
    statistics, mixup). On a GPU, the GPU's memory. null: batches are made smaller only when there is none
    left."""
    compile: bool = False
    """Each training compiles its network first (torch.compile; Ansel et al. 2024), which needs a C++ compiler
    and time: for long trainings (docs/architecture.md says what it was worth)."""

    def __post_init__(self) -> None:
        positive(self, "devices", "nodes", "prefix_cache_gib")
        if self.memory_gib is not None:
            positive(self, "memory_gib")
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
    contenders: list[Contender] = field(default_factory=lambda: list(Contender))
    """Models that are compared; each has its own search and its own fine-tunings."""
    source: Source = field(default_factory=lambda: Source(dataset=DataSetName["glyphs"]))
    target: Target = field(default_factory=lambda: Target(dataset=DataSetName["digits"]))
    input: Input = field(default_factory=Input)
    model: Model = field(default_factory=Model)
    pretrain: Pretrain = field(default_factory=Pretrain)
    finetune: Finetune = field(default_factory=Finetune)
    supervise: Supervise = field(default_factory=Supervise)
    plan: Plan = field(default_factory=Plan)
    review: Review = field(default_factory=Review)
    search: Search = field(default_factory=Search)
    evaluate: Evaluate = field(default_factory=Evaluate)
    report: Report = field(default_factory=Report)
    export: Export = field(default_factory=Export)
    tracking: Tracking = field(default_factory=Tracking)
    trainer: Trainer = field(default_factory=Trainer)

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**31, "seed", self.seed, "from 0 to 2147483647")
        once = len(set(self.contenders)) == len(self.contenders) > 0
        names = [each.name for each in self.contenders]
        require(once, "contenders", names, f"some of {', '.join(Contender.__members__)}, each once")
        self._check_plan()
        mirrored = self.finetune.augmentation is AugmentationName.mirror
        require(
            self.target.mirror or not mirrored,
            "finetune.augmentation",
            "mirror",
            "another one, because target.mirror=false says that mirrored pictures have other labels",
        )
        self.finetune.require_costs(self.evaluate.costs)
        if self.source.candidates:
            allowed = "{}, because each of source.candidates is built without options"
            require(not self.model.options, "model.options", dict(self.model.options), allowed)
        if self.source.weights is None:
            require(
                self.input.size is not None,
                "input.size",
                self.input.size,
                "a side in pixels (only source weights bring their own)",
            )

    def _check_plan(self) -> None:
        search, recipe = self.search, self.finetune
        grid, units = search.sampler is SamplerName.grid, recipe.units is not None
        reasons = {
            "search.sampler is grid, of which a part would leave out whole depths": search.enabled and grid,
            "finetune.units says what learns, and a plan chooses depths": search.enabled and units,
        }
        for reason, holds in reasons.items():
            allowed = f"null, because {reason}"
            require(self.plan.minutes is None or not holds, "plan.minutes", self.plan.minutes, allowed)
