"""Methods of fine-tuning: one row each, and the fields of a recipe that belong to single methods.

To add one: a row here, the module `thawline/models/adapters/<name>.py` and a preset in `conf/finetune`. What
a method needs to be told that no other does is a field of `MethodFields`.
"""

from dataclasses import dataclass
from enum import Enum, unique

from thawline.config.checks import positive


@dataclass
class MethodFields:
    """Fields that mean something for single methods only; a method's row names its own."""

    lora_rank: int = 4
    """Rank of the change of each weight matrix or kernel (Hu et al. 2022)."""
    lora_scale: float = 2.0
    """Factor of that change: alpha / rank in the paper's terms."""
    adapter_width: int = 16
    """Channels inside an adapter (Houlsby et al. 2019; convolutional: Chen et al. 2024)."""
    prompt_tokens: int = 8
    """Tokens added to a transformer's (Jia et al. 2022)."""
    prompt_deep: bool = True
    """New prompt tokens before every block, not before the first unfrozen one only."""

    def __post_init__(self) -> None:
        positive(self, "lora_rank", "lora_scale", "adapter_width", "prompt_tokens")


@dataclass(frozen=True)
class MethodRow:
    """A method without its code: all that configuration, search and report have to know."""

    words: str | None
    """Words for the learning of units that are not frozen, to follow the word “with”; None: the units as they
    are."""
    fields: tuple[str, ...] = ()
    """Its own fields, of those in `MethodFields`."""
    adds: bool = False
    """It adds parameters to the network."""
    source_learns: bool = True
    """Weights of the source model learn; where not, they stay as they are."""
    averages: bool = True
    """The average of several trainings' weights does what the average of the trainings would: not so for
    modules of their own, which reach the same by different weights."""


@unique
class Method(Enum):
    """Methods by which the unfrozen part of the body learns; the value of each member is its row."""

    full = MethodRow(None)
    bias = MethodRow("only biases learning")
    norm = MethodRow("only normalisation layers learning")
    scale_shift = MethodRow("scales and shifts (SSF)", adds=True, source_learns=False)
    lora = MethodRow("LoRA", ("lora_rank", "lora_scale"), adds=True, source_learns=False, averages=False)
    adapter = MethodRow("adapters", ("adapter_width",), adds=True, source_learns=False, averages=False)
    prompt = MethodRow(
        "visual prompts", ("prompt_tokens", "prompt_deep"), adds=True, source_learns=False, averages=False
    )

    @property
    def row(self) -> MethodRow:
        """Return the row of this method."""
        return self.value

    @property
    def module(self) -> str:
        """Return the dotted name of the module that says what learns under this method, and adds what it
        adds."""
        return f"thawline.models.adapters.{self.name}"
