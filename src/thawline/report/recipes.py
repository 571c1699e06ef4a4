"""Recipes in the words of docs/methods.md: the page's first sentence, and which fields decided anything.

A recipe is told as it was used: what has no effect in it (LoRA's rank where nothing is unfrozen) is not
spoken of.
"""

from dataclasses import dataclass, fields

from thawline.config.recipe.fields import Finetune
from thawline.config.sections import BatchNorm, Method, Mix, OptimizerName, Phases, Start
from thawline.report.findings import FINETUNED, Findings
from thawline.report.wording import counted, coverage, listed, percent, percent_range, rate
from thawline.training.recipe import Chosen, head_rate

_METHODS = {
    Method.bias: "only biases learning",
    Method.norm: "only normalisation layers learning",
    Method.scale_shift: "scales and shifts (SSF)",
    Method.lora: "LoRA",
    Method.adapter: "adapters",
    Method.prompt: "visual prompts",
}
_OWN_WEIGHTS = (Method.full, Method.bias, Method.norm)
"""Methods in which weights of the source model learn, where BatchNorm's might be taken to as well."""
_BATCH_NORM = {
    BatchNorm.frozen: "BatchNorm held fixed",
    BatchNorm.statistics: "BatchNorm's scales and shifts held fixed",
    BatchNorm.affine: "BatchNorm's statistics held fixed",
}
_FROZEN_BATCH_NORM = {
    BatchNorm.statistics: "BatchNorm's statistics estimated anew in the frozen units",
    BatchNorm.affine: "BatchNorm's scales and shifts learning in the frozen units too",
    BatchNorm.train: "BatchNorm learning in the frozen units too",
}
_ALWAYS = {
    "start", "depth", "method", "batch_norm", "frozen_batch_norm", "phase_share", "body_lr", "head_lr",
    "epochs", "batch_size", "optimizer", "momentum", "weight_decay", "schedule", "warmup", "augmentation",
    "mix_alpha", "keep", "seeds", "lora_rank", "lora_scale", "adapter_width", "prompt_tokens", "prompt_deep",
}  # fmt: skip
"""Fields shown wherever they mean something; of the others the default is "off"."""


@dataclass(frozen=True)
class Told:
    """A contender's recipe, and how many units the network has (None where that is not known)."""

    chosen: Chosen
    units: int | None

    @property
    def recipe(self) -> Finetune:
        return self.chosen.recipe

    @property
    def all_frozen(self) -> bool:
        return self.recipe.depth == "all" or 0 < self.chosen.depth == self.units

    @property
    def thawed(self) -> bool:
        """Whether some units start from the source model and are not frozen."""
        return self.recipe.start is Start.source and not self.all_frozen

    @property
    def some_frozen(self) -> bool:
        return self.chosen.depth > 0 or self.recipe.units is not None

    @property
    def body_learns(self) -> bool:
        """Whether anything that starts from the source model has a learning rate."""
        recipe = self.recipe
        return (
            recipe.start is Start.source
            and recipe.body_lr is not None
            and recipe.body_learns(self.all_frozen)
        )

    @property
    def is_probe(self) -> bool:
        """Whether it is what the contender `linear_probe` is."""
        return self.all_frozen and self.recipe.frozen_batch_norm is BatchNorm.frozen


def told(findings: Findings, name: str = FINETUNED) -> Told:
    return Told(findings.recipes[name], findings.units)


def answer(findings: Findings) -> str:
    """Which recipe, and how good it is on the test pictures."""
    found = findings.metrics[FINETUNED]
    accuracy, seeds = found["accuracy"], len(found["seeds"])
    over = f"mean of {seeds} seeds" if seeds > 1 else "one seed"
    return (
        f"With {described(told(findings))}, the model labels "
        f"**{percent(accuracy['mean'])}** of {counted(found['n_test'], 'test picture')} correctly "
        f"({coverage(findings)} interval {percent_range(accuracy)}, {over})."
    )


def described(told: Told) -> str:
    """The recipe, to follow the word “with”."""
    how = rates(told)
    how = f"learning rates {how}" if " and " in how else f"learning rate {how}"
    return listed([learning(told), *besides(told), how])


def learning(told: Told) -> str:
    """What is frozen and what learns in the rest, to follow the word “with”."""
    if told.recipe.start is Start.random:
        return "every weight trained from a random start (nothing copied)"
    if told.all_frozen:
        return f"only the head trained (all {told.chosen.depth} units frozen)"
    first = "a linear probe first, then " if told.recipe.phases is Phases.probe_first else ""
    method = method_name(told)
    return first + (f"{method} in {_where(told)}" if method else _whole_units(told))


def _whole_units(told: Told) -> str:
    if told.recipe.units is not None:
        return f"only {listed([*_named(told.recipe.units), 'the head'])} learning"
    depth, unit = told.chosen.depth, told.chosen.unit
    if depth == 0:
        return "full fine-tuning (no unit frozen)"
    return f"{_first(told)} frozen ({'' if depth == 1 else 'up to '}`{unit}`)"


def _where(told: Told) -> str:
    if told.recipe.units is not None:
        return f"{listed(_named(told.recipe.units))} (all other units frozen)"
    if told.chosen.depth == 0:
        return f"all {told.units} units" if told.units else "all units"
    return f"the units after `{told.chosen.unit}` ({_first(told)} frozen)"


def _first(told: Told) -> str:
    """`the first 3 of 9 units`"""
    depth, units = told.chosen.depth, told.units
    if depth == 1:
        return f"the first {f'of {units} units' if units else 'unit'}"
    return f"the first {f'{depth} of {units}' if units else depth} units"


def _named(units: list[str]) -> list[str]:
    return [f"`{name}`" for name in units]


def method_name(told: Told) -> str | None:
    """What learns in the unfrozen units; None where they learn as a whole or there are none."""
    if not told.thawed or told.recipe.method is Method.full:
        return None
    if told.recipe.method is Method.prompt and not told.recipe.prompt_deep:
        return "a single set of visual prompts"
    return _METHODS[told.recipe.method]


def besides(told: Told) -> list[str]:
    """What else makes the recipe another one than plain fine-tuning, to follow the word “with”."""
    recipe = told.recipe
    found = [
        (told.thawed and recipe.phases is Phases.gradual, "gradual unfreezing from the head down"),
        *_batch_norm(told),
        (
            told.body_learns and recipe.layer_decay < 1,
            f"layer-wise decay (each unit's learning rate {recipe.layer_decay:g} times the next one's)",
        ),
        (told.body_learns and recipe.l2_sp > 0, "a pull towards the source model's weights (L2-SP)"),
        (recipe.ema > 0, "a moving average of the weights"),
        (
            told.body_learns and recipe.wise_ft < 1,
            f"a body {100 * recipe.wise_ft:g} % of the way from the source's to the fine-tuned one (WiSE-FT)",
        ),
        (recipe.soup > 1, f"a greedy soup of {recipe.soup} trainings per seed"),
    ]
    return [words for so, words in found if so]


def _batch_norm(told: Told) -> list[tuple[bool, str]]:
    unfrozen, frozen = told.recipe.batch_norm, told.recipe.frozen_batch_norm
    own = told.thawed and told.recipe.method in _OWN_WEIGHTS
    return [
        (own and unfrozen in _BATCH_NORM, _BATCH_NORM.get(unfrozen, "")),
        (told.some_frozen and frozen in _FROZEN_BATCH_NORM, _FROZEN_BATCH_NORM.get(frozen, "")),
    ]


def frozen_cell(told: Told) -> str:
    """How many units are frozen, with the name of the last one."""
    if told.recipe.units is not None:
        return f"all but {listed(_named(told.recipe.units))}"
    unit = told.chosen.unit
    return f"{told.chosen.depth}" + (f" (`{unit}`)" if unit else "")


def method_cell(told: Told) -> str | None:
    """What `frozen_cell` leaves out; None for a plain frozen prefix."""
    probe = told.thawed and told.recipe.phases is Phases.probe_first
    first = ["a linear probe first"] if probe else []
    return "; ".join([*first, *filter(None, [method_name(told)]), *besides(told)]) or None


def rate_names(recipe: Finetune) -> tuple[str, str]:
    """Whose learning rates `head_lr` and `body_lr` are, where both matter."""
    if recipe.phases is Phases.probe_first:
        return "head alone", "then everything"
    return "head", "body" if recipe.layer_decay == 1 else "last unit"


def rates(told: Told) -> str:
    """The learning rates that matter: one where nothing but the head trains (a linear probe) or where
    everything starts random."""
    head = rate(head_rate(told.recipe))
    if not told.body_learns:
        return head
    first, second = rate_names(told.recipe) if told.thawed else ("head", "body")
    return f"{head} ({first}) and {rate(told.recipe.body_lr)} ({second})"


def meaningful(told: Told) -> dict[str, object]:
    """The recipe's fields, by name, that decided anything: not what belongs to a method, optimizer or phase
    that was not used, and nothing that is off. The depth is the resolved one."""
    plain, recipe, without = Finetune(), told.recipe, _without_meaning(told)
    values = {field.name: getattr(recipe, field.name) for field in fields(recipe)}
    return {
        name: told.chosen.depth if name == "depth" else value
        for name, value in sorted(values.items())
        if name not in without and (name in _ALWAYS or value != getattr(plain, name))
    }


def _without_meaning(told: Told) -> set[str]:
    recipe = told.recipe
    method = recipe.method if told.thawed else Method.full
    means = {
        "depth": recipe.units is None,
        "method": told.thawed,
        "batch_norm": told.thawed,
        "frozen_batch_norm": told.some_frozen,
        "phases": told.thawed,
        "phase_share": told.thawed and recipe.phases is not Phases.one,
        "body_lr": told.body_learns,
        "layer_decay": told.body_learns,
        "wise_ft": told.body_learns,
        "l2_sp": told.body_learns,
        "lora_rank": method is Method.lora,
        "lora_scale": method is Method.lora,
        "adapter_width": method is Method.adapter,
        "prompt_tokens": method is Method.prompt,
        "prompt_deep": method is Method.prompt,
        "momentum": recipe.optimizer is OptimizerName.sgd,
        "mix_alpha": recipe.mix is not Mix.none,
    }
    return {name for name, so in means.items() if not so}
