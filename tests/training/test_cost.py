"""Costs: counted exactly where a formula says what they are, and without leaving a trace."""

import copy
import mmap
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests_networks import Small, freeze
from torch import nn
from torchvision.models.vision_transformer import VisionTransformer

from thawline.config.sections import Method
from thawline.models.adapters.adapt import adapt
from thawline.models.adapters.adaptation import Adaptation
from thawline.models.cuts import units
from thawline.models.freezing import hold, state_hashes
from thawline.models.selection import select
from thawline.models.zoo import build
from thawline.training import cost
from thawline.training.cost import (
    Flops,
    flops,
    flops_if_possible,
    measured,
    parameters,
    peak_memory,
    reset_peak_memory,
)

SHAPE = (3, 16, 16)


def multilayer() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 3))


def small() -> nn.Module:
    torch.manual_seed(0)
    return Small(4)


def vit() -> nn.Module:
    return VisionTransformer(16, 8, 2, 2, 8, 16, dropout=0.1, num_classes=4)


class Awkward(nn.Module):
    """Makes a tensor of its own on the CPU, which the meta device does not mix with."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(12, 3)
        self.dropout = nn.Dropout()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        table = torch.arange(24.0, device="cpu").view(2, 12)
        return self.linear(self.dropout(x.flatten(1) + table[torch.tensor(1)].to(x) + float(x.sum() * 0)))


def test_matrix_products_count_two_operations_per_weight_and_picture() -> None:
    forward = 2 * (12 * 5 + 5 * 3)
    # backward: a gradient of every weight, and of every layer's input but the pictures
    assert flops(multilayer(), (3, 2, 2)) == Flops(forward, 2 * forward + 2 * 5 * 3)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_either_gradient_of_a_convolution_costs_what_the_convolution_does(groups: int) -> None:
    """PyTorch's own formula leaves the groups out of the weight's gradient."""
    each = 2 * 8 * (4 // groups) * 9 * 6 * 6
    layer = nn.Conv2d(4, 8, 3, padding=1, groups=groups)
    network = nn.Sequential(layer, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    head = 2 * 8 * 2
    assert flops(network, (4, 6, 6)) == Flops(each + head, 2 * each + 3 * head)


def test_transposed_convolutions_are_counted_too() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(4, 2, 2, stride=2), nn.Flatten())
    first, second = 2 * 3 * 4 * 16, 2 * 4 * 2 * 4 * 16
    assert flops(network, (3, 4, 4)) == Flops(first + second, 2 * first + 3 * second)


@pytest.mark.parametrize("make", [small, vit])
def test_the_deeper_the_frozen_prefix_the_cheaper_the_step(make: Callable[[], nn.Module]) -> None:
    network = make()
    depths = range(len(units(network)) + 1)
    counted = [flops(freeze(network, depth), SHAPE) for depth in depths]
    assert len({each.forward for each in counted}) == 1
    steps = [each.step for each in counted]
    assert steps == sorted(steps, reverse=True)
    assert len(set(steps)) == len(steps)
    head = 2 * parameters(freeze(network, depths[-1]))[0]
    assert steps[-1] - counted[0].forward <= head


def test_frozen_units_in_the_middle_save_their_weights_gradients_only() -> None:
    network = small()
    count = len(units(network))
    middle = flops(hold(network, select(network, {count - 1})), SHAPE).step
    assert flops(freeze(network, 1), SHAPE).step < middle < flops(freeze(network, 0), SHAPE).step


@pytest.mark.parametrize("batch_size", [3, 64])
def test_operations_are_per_picture_whatever_the_batch(batch_size: int) -> None:
    assert flops(small(), SHAPE, batch_size) == flops(small(), SHAPE)


def test_what_is_done_once_per_step_is_shared_out_over_the_batch() -> None:
    class Product(nn.Module):
        """As a low-rank change of a weight: a product of two matrices, whatever the batch."""

        def __init__(self) -> None:
            super().__init__()
            self.up, self.down = nn.Parameter(torch.rand(12, 2)), nn.Parameter(torch.rand(2, 12))

        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            return weight + self.up @ self.down

    layer = nn.Linear(12, 12)
    nn.utils.parametrize.register_parametrization(layer, "weight", Product())
    network = nn.Sequential(nn.Flatten(), layer)
    assert flops(network, (3, 2, 2), 4).forward == 2 * 12 * 12 + 2 * 12 * 2 * 12 // 4


def test_a_network_with_a_tensor_of_its_own_is_counted_all_the_same() -> None:
    assert flops(Awkward(), (3, 2, 2)) == Flops(2 * 36, 2 * 2 * 36)


def test_what_is_run_for_real_is_run_on_two_pictures() -> None:
    """A recipe's whole batch may need more memory than there is outside the GPU."""
    seen = []
    network = Awkward()
    network.register_forward_pre_hook(lambda _, given: seen.append((given[0].device.type, len(given[0]))))
    assert flops(network, (3, 2, 2), 512) == flops(network, (3, 2, 2))
    assert {count for device, count in seen if device == "cpu"} == {2}


@pytest.mark.parametrize("make", [small, vit])
def test_a_head_that_learns_alone_is_counted_for_real_and_to_the_same_numbers(
    make: Callable[[], nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = make()
    held, size = freeze(network, len(units(network))), 16 if make is vit else 32
    found = flops(held, (3, size, size), 8)
    monkeypatch.setattr(cost, "_one_linear_layer_learns", lambda _: False)
    assert found == flops(held, (3, size, size), 8)


def test_a_failure_of_counting_is_told_and_all_else_measured(caplog: pytest.LogCaptureFixture) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(5, 2))
    spent = [flops_if_possible(network, (3, 2, 2), 8)]
    found = measured(network, (3, 2, 2), 8, [{"epoch": 0, "seconds": 1.0}], spent, pictures=10)
    assert not found.keys() & {"forward_flops", "step_flops", "training_flops"}
    assert (found["trainable_parameters"], found["pictures_per_second"]) == (12, 10.0)
    assert "operations could not be counted" in caplog.text
    assert "mat1 and mat2 shapes cannot be multiplied" in caplog.text


def test_fused_attention_is_not_overlooked(monkeypatch: pytest.MonkeyPatch) -> None:
    """In evaluation mode on a CPU a layer of attention is one operation without a formula."""
    expected = flops(vit(), SHAPE).forward
    monkeypatch.setattr(cost, "without_memory", lambda network: copy.deepcopy(network))
    assert flops(vit(), SHAPE).forward == expected
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize(("make", "depth"), [(small, 0), (small, 2), (vit, 1)])
def test_counting_leaves_no_trace(make: Callable[[], nn.Module], depth: int) -> None:
    network = freeze(make(), depth).train()
    network(torch.rand(4, *SHAPE)).sum().backward()
    before = _state(network)
    flops(network, SHAPE)
    parameters(network)
    assert _state(network) == before


def test_counting_for_real_leaves_no_trace() -> None:
    network = Awkward().train()
    before = _state(network)
    flops(network, (3, 2, 2))
    assert _state(network) == before


def _state(network: nn.Module) -> object:
    gradients = {
        name: None if each.grad is None else each.grad.tolist() for name, each in network.named_parameters()
    }
    modes = {name: module.training for name, module in network.named_modules()}
    learns = {name: each.requires_grad for name, each in network.named_parameters()}
    hooks = [len(module._forward_hooks) + len(module._backward_hooks) for module in network.modules()]
    return state_hashes(network), gradients, modes, learns, hooks, torch.get_rng_state().tolist()


def test_a_network_that_cannot_run_says_why() -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
        flops(nn.Sequential(nn.Flatten(), nn.Linear(5, 2)), (3, 2, 2))


def test_shared_parameters_count_once() -> None:
    layer = nn.Linear(4, 4)
    assert parameters(nn.Sequential(layer, layer)) == (20, 20)


def test_frozen_parameters_do_not_count_as_trainable() -> None:
    network = small()
    frozen = freeze(network, len(units(network)))
    assert parameters(frozen) == (4 * 8 + 4, sum(each.numel() for each in network.parameters()))


def test_auxiliary_heads_that_are_left_out_count() -> None:
    network = build("googlenet", 3, init_weights=False)
    total = sum(each.numel() for each in network.parameters())
    assert parameters(freeze(network, len(units(network))))[1] == total


def test_a_run_is_measured_under_the_names_it_is_logged_with() -> None:
    network = freeze(small(), 1)
    history = [{"epoch": epoch, "seconds": seconds} for epoch, seconds in enumerate((3.0, 1.0))]
    found = measured(network, SHAPE, 8, history, [7, 2 * 9], pictures=100)
    assert (found["seconds_per_epoch"], found["pictures_per_second"]) == (2.0, 50.0)
    assert (found["trainable_parameters"], found["total_parameters"]) == parameters(network)
    assert (found["forward_flops"], found["step_flops"]) == flops(network, SHAPE)
    assert found["training_flops"] == 100 * (7 + 2 * 9)
    assert found["peak_memory_bytes"] > 10_000_000


@pytest.mark.skipif(not cost._CLEAR.exists(), reason="only Linux can forget a peak")
def test_peak_memory_starts_anew() -> None:
    reset_peak_memory()
    before = peak_memory()
    # from the system itself: the allocator may still hold what an earlier test has freed
    with mmap.mmap(-1, 100_000_000) as taken:
        for page in range(0, len(taken), mmap.PAGESIZE):
            taken[page] = 1
    assert peak_memory() - before > 90_000_000
    reset_peak_memory()
    assert peak_memory() - before < 50_000_000


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_its_memory_counts() -> None:
    reset_peak_memory("cuda")
    before = peak_memory("cuda")
    taken = torch.zeros(25_000_000, device="cuda")
    del taken
    assert peak_memory("cuda") - before == 100_000_000


def test_networks_that_are_alike_are_counted_once_and_others_by_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted: list[str] = []
    original = cost.flops

    def watched(network: nn.Module, *rest: Any) -> Any:
        counted.append(type(network).__name__)
        return original(network, *rest)

    monkeypatch.setattr(cost, "flops", watched)
    monkeypatch.setattr(cost, "_counted", {})
    networks = [freeze(small(), depth) for depth in (0, 1, 1, 3)]
    found = [cost.flops_if_possible(each, (3, 32, 32), 4) for each in networks]
    assert len(counted) == 3
    assert found[1] == found[2]
    assert found[0].step > found[1].step > found[3].step
    assert found == [original(each, (3, 32, 32), 4) for each in networks]


def test_what_a_method_adds_is_counted_by_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_counted", {})
    found = []
    for rank in (1, 8):
        network = adapt(Small(4), Adaptation(Method.lora, (), {"lora_rank": rank, "lora_scale": 2.0}), seed=0)
        found.append(cost.flops_if_possible(network, SHAPE, 4))
    assert found[0] is not None
    assert found[1] is not None
    assert found[1].step > found[0].step
