"""Tells networks whose head is affine in the features at their last cut: such a head can be solved."""

import torch
from torch import fx, nn

from thawline.models.cuts import divide
from thawline.models.head import Head
from thawline.models.steps import State, drops


def linear_head(network: nn.Module) -> nn.Linear | None:
    """Return the layer that makes logits of the flattened features at the last cut of `network`; None where
    something else than dropout is between them or follows, or where the head has no single linear layer."""
    whole = divide(network)
    state = State(whole.trace)
    for node in whole.nodes[whole.positions[-1] + 1 :]:
        if not (str(node.target) == whole.head or node.op == "output" or _passes(node, state)):
            return None
    head = network.get_submodule(whole.head)
    if isinstance(head, Head):
        *before, head = head
        if not all(isinstance(layer, nn.Dropout) for layer in before):
            return None
    return head if isinstance(head, nn.Linear) and head.bias is not None else None


def _passes(node: fx.Node, state: State) -> bool:
    """Tell whether a step leaves numbers as they are in evaluation mode."""
    if drops(node, state) or node.op == "get_attr":
        return True
    if node.op == "call_module":
        return isinstance(state.module(node), nn.Flatten | nn.Identity)
    return node.target in (torch.flatten, "flatten")
