"""The names a setting may take: one enumeration per setting, each member's value equal to its name."""

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


class ScheduleName(Enum):
    cosine = "cosine"
    linear = "linear"
    constant = "constant"


class AugmentationName(Enum):
    none = "none"
    standard = "standard"


class Start(Enum):
    source = "source"
    random = "random"


class ClassWeights(Enum):
    none = "none"
    balanced = "balanced"


class Keep(Enum):
    best = "best"
    last = "last"


class SamplerName(Enum):
    tpe = "tpe"
    random = "random"


class PrunerName(Enum):
    median = "median"
    none = "none"


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
