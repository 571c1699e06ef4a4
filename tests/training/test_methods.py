"""Every method on small networks of four families: what it is meant to change changes, and it learns."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest
import torch
from conftest import write_toy_store
from omegaconf import OmegaConf
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3
from torchvision.models.regnet import BlockParams, RegNet
from torchvision.models.vision_transformer import VisionTransformer

from thawline.config.errors import UserError
from thawline.config.sections import Finetune, Phases, Trainer
from thawline.data.store import Store
from thawline.models.adapters.adapt import adapt
from thawline.models.adapters.adaptation import adaptation_of
from thawline.models.cuts import units
from thawline.models.depth import frozen_units
from thawline.models.freezing import state_hashes
from thawline.training.soup import finetune_soup

CONF = Path(__file__).resolve().parents[2] / "conf" / "finetune"
CPU = Trainer(accelerator="cpu", threads=1)
NORMALISATIONS = (nn.BatchNorm2d, nn.LayerNorm)
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True)
class Family:
    """How to build a network for 16-px pictures of 2 classes, the prefix of its head's names, and names of
    units for a surgical fine-tuning."""

    build: Callable[[], nn.Module]
    head: str
    early: str


def block(inside: int, outside: int, squeezed: bool) -> InvertedResidualConfig:
    return InvertedResidualConfig(inside, 3, 2 * inside, outside, squeezed, "HS", 2, 1, 1.0)


FAMILIES = {
    "regnet": Family(
        lambda: RegNet(BlockParams([2, 2], [16, 32], [8, 8], [1.0, 1.0], [2, 2]), num_classes=2),
        "fc.",
        "trunk_output.block1",
    ),
    "mobilenet": Family(
        lambda: MobileNetV3([block(16, 16, squeezed=True), block(16, 24, squeezed=False)], 32, num_classes=2),
        "classifier.3.",
        "features.1",
    ),
    "vit": Family(
        partial(VisionTransformer, 16, 4, 2, 2, 16, 32, num_classes=2),
        "heads.head.",
        "encoder.layers.encoder_layer_0",
    ),
    "convnext": Family(
        lambda: ConvNeXt([CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)], 0.1, num_classes=2),
        "classifier.2.",
        "features.0",
    ),
}


@dataclass
class Seen:
    """Which parameters optimizers had a state of when they made a step; afterwards they let go of it."""

    stateful: set[int] = field(default_factory=set)


@pytest.fixture
def seen() -> Iterator[Seen]:
    found = Seen()

    def remember(optimizer: torch.optim.Optimizer, *_: object) -> None:
        found.stateful.update(map(id, optimizer.state))

    handle = register_optimizer_step_post_hook(remember)
    yield found
    handle.remove()


def settled(family: Family) -> nn.Module:
    """A network whose BatchNorm statistics fit its weights, as any source model's do: normalised by other
    ones, the signal of a deep network dies on its way, and so do the gradients."""
    torch.manual_seed(0)
    network = family.build().train()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # a plain average
    with torch.no_grad():
        for _ in range(10):
            network(torch.randn(64, 3, 16, 16))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return network.eval()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_toy_store(tmp_path_factory.mktemp("store"), {"train": 16, "val": 8})


def recipe_of(method: str, family: Family) -> Finetune:
    preset = OmegaConf.load(CONF / f"{method}.yaml")
    recipe = OmegaConf.to_object(
        OmegaConf.merge(OmegaConf.structured(Finetune(epochs=3, batch_size=8)), preset)
    )
    assert isinstance(recipe, Finetune)
    recipe = replace(recipe, head_lr=3e-3, epochs=6 if recipe.phases is not Phases.one else 3)
    return replace(recipe, units=[family.early]) if method == "surgical" else recipe


def of_normalisation(network: nn.Module) -> set[str]:
    return {
        f"{path}.{name}"
        for path, module in network.named_modules()
        if isinstance(module, NORMALISATIONS)
        for name, _ in [*module.named_parameters(), *module.named_buffers()]
    }


def intended(method: str, family: Family, network: nn.Module, plain: nn.Module) -> set[str]:
    """Names of the tensors a method is meant to change, said without the code that selects them."""
    everything = set(network.state_dict())
    statistics = {name for name in everything if name.endswith(STATISTICS)}
    head = {name for name in everything if name.startswith(family.head)}
    if method == "linear_probe":
        return head
    if method == "frozen":
        first = {name for unit in units(plain)[:3] for name in (*unit.parameters, *unit.buffers)}
        return everything - first
    if method == "surgical":
        return head | {name for name in everything if name.startswith(f"{family.early}.")}
    if method == "bias":
        return head | statistics | {name for name in everything if name.endswith("bias")}
    if method == "norm":
        return head | of_normalisation(network)
    if method in ("scale_shift", "lora", "adapter", "prompt"):
        return head | {name for name in everything if is_added(name, set(plain.state_dict()))}
    return everything


def is_added(name: str, before: set[str]) -> bool:
    return name.replace(".parametrizations", "").removesuffix(".original") not in before


PRESETS = sorted(path.stem for path in CONF.glob("*.yaml"))
QUICK = {
    ("lora", "vit"),
    ("gradual", "convnext"),
    ("surgical", "convnext"),
    ("adapter", "convnext"),
}
CASES = [
    pytest.param(method, family, marks=() if (method, family) in QUICK else pytest.mark.slow)
    for method in PRESETS
    for family in FAMILIES
    if method != "prompt" or family == "vit"
]


@pytest.mark.parametrize(("method", "name"), CASES)
def test_exactly_the_intended_tensors_change(method: str, name: str, seen: Seen, store: Store) -> None:
    family = FAMILIES[name]
    recipe = recipe_of(method, family)
    plain = settled(family)
    frozen = frozen_units(recipe.depth, recipe.units, units(plain))
    network = plain
    before = state_hashes(plain)
    if adaptation := adaptation_of(recipe, frozen):
        network = adapt(copy.deepcopy(plain), adaptation, seed=0)
        before = state_hashes(network)
    meant = intended(method, family, network, plain)
    fitted = finetune_soup(network, recipe, store, CPU, seed=0, mirror=False)
    after = state_hashes(network)
    assert before.keys() == after.keys()
    assert {each for each in before if before[each] != after[each]} == meant & before.keys()
    parameters = dict(network.named_parameters())
    learning = {id(parameter) for each, parameter in parameters.items() if each in meant}
    solved = method == "linear_probe"
    assert seen.stateful == (set() if solved else learning)
    assert all(each in meant or parameter.grad is None for each, parameter in parameters.items())
    losses = [row["train_loss"] for row in fitted.history if row["train_loss"] == row["train_loss"]]
    # a solved head has one row
    assert len(losses) == 1 if solved else losses[-1] < losses[0]


def test_prompts_need_a_transformer() -> None:
    family = FAMILIES["convnext"]
    adaptation = adaptation_of(recipe_of("prompt", family), frozenset())
    assert adaptation is not None
    with pytest.raises(UserError, match="tokens"):
        adapt(family.build(), adaptation, seed=0)


def test_every_preset_is_among_the_cases() -> None:
    assert {case.values[0] for case in CASES} == set(PRESETS)
