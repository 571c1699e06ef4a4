"""L2-SP against its formula."""

import torch
from torch import nn

from thawline.training.l2_sp import L2SP


def test_one_step_is_that_of_the_penalised_loss() -> None:
    torch.manual_seed(0)
    layer, reference = nn.Linear(4, 3), nn.Linear(4, 3)
    reference.load_state_dict(layer.state_dict())
    start = [each.detach().clone() for each in layer.parameters()]
    pull = L2SP(layer.parameters(), 0.3)
    pictures = torch.rand(5, 4)
    ours, theirs = (torch.optim.SGD(each.parameters(), lr=0.1) for each in (layer, reference))
    for _ in range(3):
        ours.zero_grad()
        layer(pictures).square().sum().backward()
        pull.add_gradient()
        ours.step()
        theirs.zero_grad()
        distance = sum((a - b).square().sum() for a, b in zip(reference.parameters(), start, strict=True))
        (reference(pictures).square().sum() + 0.3 / 2 * distance).backward()
        theirs.step()
    for one, other in zip(layer.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_what_got_no_gradient_stays_without() -> None:
    weight = nn.Parameter(torch.ones(2))
    L2SP([weight], 1.0).add_gradient()
    assert weight.grad is None
