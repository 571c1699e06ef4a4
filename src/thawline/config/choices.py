"""Names a setting may take: one enumeration per setting, each member's value equal to its name."""

import pkgutil
from enum import Enum
from pathlib import Path


def _modules(folder: str) -> list[str]:
    """List the modules of a folder of thawline.data by name, without importing any."""
    found = pkgutil.iter_modules([str(Path(__file__).parents[1] / "data" / folder)])
    return [module.name for module in found if not module.ispkg]


EMBEDDED = _modules("sets/embedded")
"""The data sets that need no `root`."""


class DataSetName(Enum):
    """A data set's name is that of its module in data/sets/."""

    # members made in a loop, as the documentation of enum does it
    _ignore_ = ["members", "name"]
    members = vars()
    for name in [*EMBEDDED, *_modules("sets")]:
        members[name] = name


class ExportFormat(Enum):
    """What the fine-tuned model is written as."""

    bundle = "bundle"
    onnx = "onnx"
    torch_export = "torch_export"
    mlflow = "mlflow"
    onnx_int8 = "onnx_int8"


class Layout(Enum):
    """What the folders above a picture, or its own name, say about it."""

    auto = "auto"
    class_folders = "class_folders"
    split_folders = "split_folders"
    splits_in_classes = "splits_in_classes"
    innermost_folders = "innermost_folders"
    file_names = "file_names"


class Groups(Enum):
    complete = "complete"
    partial = "partial"


class Fit(Enum):
    crop = "crop"
    squash = "squash"
    pad = "pad"


class Match(Enum):
    names = "names"
    order = "order"


class OptimizerName(Enum):
    adamw = "adamw"
    sgd = "sgd"
    lamb = "lamb"


class ScheduleName(Enum):
    cosine = "cosine"
    linear = "linear"
    constant = "constant"
    one_cycle = "one_cycle"
    step = "step"


class AugmentationName(Enum):
    none = "none"
    mirror = "mirror"
    standard = "standard"
    rand_augment = "rand_augment"
    trivial_augment = "trivial_augment"


class Mix(Enum):
    none = "none"
    mixup = "mixup"
    cutmix = "cutmix"


class Phases(Enum):
    one = "one"
    probe_first = "probe_first"
    gradual = "gradual"


class BatchNorm(Enum):
    frozen = "frozen"
    statistics = "statistics"
    affine = "affine"
    train = "train"


class HeadVariant(Enum):
    linear = "linear"
    dropout_linear = "dropout_linear"
    mlp = "mlp"


class Start(Enum):
    source = "source"
    random = "random"


class ClassWeights(Enum):
    none = "none"
    balanced = "balanced"


class Doubt(Enum):
    none = "none"
    weigh = "weigh"


class LossName(Enum):
    cross_entropy = "cross_entropy"
    generalised = "generalised"
    symmetric = "symmetric"


class Keep(Enum):
    best = "best"
    last = "last"


class Goal(Enum):
    """Purposes of a search: one good recipe, or evidence at every depth."""

    recipe = "recipe"
    depth_curve = "depth_curve"


class Objective(Enum):
    accuracy = "accuracy"
    accuracy_and_cost = "accuracy_and_cost"


class ValidationName(Enum):
    auto = "auto"
    holdout = "holdout"
    kfold = "kfold"


class SamplerName(Enum):
    tpe = "tpe"
    random = "random"
    grid = "grid"
    cmaes = "cmaes"
    gp = "gp"


class PrunerName(Enum):
    median = "median"
    asha = "asha"
    hyperband = "hyperband"
    wilcoxon = "wilcoxon"
    none = "none"


class Engine(Enum):
    """Engines that place the workers of a search."""

    local = "local"
    ray = "ray"


class Precision(Enum):
    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


class Role(Enum):
    source = "source"
    target = "target"


class Contender(Enum):
    """The models that are compared; each has its own search and its own fine-tunings."""

    finetuned = "finetuned"
    linear_probe = "linear_probe"
    from_scratch = "from_scratch"
