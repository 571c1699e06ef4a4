"""Batch normalisation over parts of a batch is that over the batch."""

import threading
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional

from thawline.training.synchronized_batch_norm import SynchronizedBatchNorm


class Processes:
    """Threads in place of processes; `all_reduce` waits for all of them, as PyTorch's does."""

    def __init__(self, count: int) -> None:
        self.barrier = threading.Barrier(count, timeout=20)
        self.count = count
        self.given: dict[int, torch.Tensor] = {}

    def all_reduce(self, tensor: torch.Tensor) -> None:
        here = int(threading.current_thread().name)
        self.given[here] = tensor.clone()
        self.barrier.wait()
        total = torch.stack([self.given[each] for each in range(self.count)]).sum(0)
        self.barrier.wait()
        tensor.copy_(total)

    def run(self, work: Callable[[int], None]) -> None:
        threads = [threading.Thread(target=work, args=(each,), name=str(each)) for each in range(self.count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Processes:
    made = Processes(2)
    monkeypatch.setattr("torch.distributed.all_reduce", made.all_reduce)
    return made


def normalised(norm: nn.Module, pictures: torch.Tensor, slope: torch.Tensor) -> list[torch.Tensor]:
    """Output, gradients and statistics of a step whose loss is `slope` times the output."""
    pictures = pictures.clone().requires_grad_()
    output = norm(pictures)
    (output * slope).sum().backward()
    statistics = [norm.running_mean, norm.running_var, norm.num_batches_tracked]
    return [output.detach(), pictures.grad, norm.weight.grad, norm.bias.grad, *statistics]


@pytest.mark.parametrize("parts", [(3, 2), (1, 1), (4, 1)])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_parts_are_normalised_as_the_whole(
    parts: tuple[int, int], momentum: float | None, processes: Processes
) -> None:
    pictures, slope = torch.randn(2, sum(parts), 3, 4, 4).unbind()
    expected = normalised(nn.BatchNorm2d(3, momentum=momentum), pictures, slope)
    found: dict[int, list[torch.Tensor]] = {}

    def work(rank: int) -> None:
        norm = nn.BatchNorm2d(3, momentum=momentum)
        with SynchronizedBatchNorm(torch.tensor(1.0)):
            found[rank] = normalised(norm, pictures.split(parts)[rank], slope.split(parts)[rank])

    processes.run(work)
    first, second = found[0], found[1]
    pairs = list(zip(first, second, strict=True))
    torch.testing.assert_close([torch.cat(pair) for pair in pairs[:2]], expected[:2])
    # whoever trains sums the gradients of parameters
    torch.testing.assert_close([one + other for one, other in pairs[2:4]], expected[2:4])
    for each in (first, second):
        torch.testing.assert_close(each[4:], expected[4:])


def test_a_picture_that_does_not_count_is_not_measured(processes: Processes) -> None:
    pictures, slope = torch.randn(2, 3, 3, 4, 4).unbind()
    expected = normalised(nn.BatchNorm2d(3), pictures, slope)
    found: dict[int, list[torch.Tensor]] = {}

    def work(rank: int) -> None:
        given = (pictures, slope) if rank == 0 else (100 + pictures[:1], torch.zeros_like(slope[:1]))
        with SynchronizedBatchNorm(torch.tensor(1.0 - rank)):
            found[rank] = normalised(nn.BatchNorm2d(3), *given)

    processes.run(work)
    torch.testing.assert_close(found[0], expected)


def test_other_functions_and_layers_in_evaluation_mode_are_left_alone() -> None:
    pictures = torch.randn(2, 3, 4, 4)
    norm = nn.BatchNorm2d(3).eval()
    expected = norm(pictures)
    with SynchronizedBatchNorm(torch.tensor(1.0)):
        assert torch.equal(norm(pictures), expected)
        assert torch.equal(functional.relu(pictures), pictures.clamp(min=0))
    assert norm.num_batches_tracked == 0


def test_layers_of_a_class_of_their_own_are_reached(processes: Processes) -> None:
    """As timm's, which normalise and activate in one: PyTorch's SyncBatchNorm would drop the activation."""

    class Activated(nn.BatchNorm2d):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return super().forward(input).relu()

    pictures = torch.randn(4, 3, 4, 4)
    expected = Activated(3)(pictures)
    found: dict[int, torch.Tensor] = {}

    def work(rank: int) -> None:
        with SynchronizedBatchNorm(torch.tensor(1.0)):
            found[rank] = Activated(3)(pictures.chunk(2)[rank])

    processes.run(work)
    torch.testing.assert_close(torch.cat([found[0], found[1]]), expected)
