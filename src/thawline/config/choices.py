"""Names a setting may take: one enumeration per setting, each member's value equal to its name."""

from enum import Enum


class DataSetName(Enum):
    glyphs = "glyphs"
    digits = "digits"
    image_folder = "image_folder"
    cifar10 = "cifar10"
    cifar100 = "cifar100"
    flowers102 = "flowers102"
    oxford_iiit_pet = "oxford_iiit_pet"
    food101 = "food101"
    eurosat = "eurosat"
    dtd = "dtd"


EMBEDDED = (DataSetName.glyphs, DataSetName.digits)


class Fit(Enum):
    crop = "crop"
    squash = "squash"
    pad = "pad"


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


class PrefixCacheUse(Enum):
    auto = "auto"
    always = "always"
    never = "never"


class Role(Enum):
    source = "source"
    target = "target"


class Contender(Enum):
    """The models that are compared; each has its own search and its own fine-tunings."""

    finetuned = "finetuned"
    linear_probe = "linear_probe"
    from_scratch = "from_scratch"
