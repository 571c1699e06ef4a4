"""Visual prompt tuning (Jia et al. 2022, arXiv:2203.12119): tokens that learn beside a transformer's own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import fx, nn
from torch.func import functional_call

from thawline.config.errors import UserError
from thawline.models.adapters.added import added_parameters
from thawline.models.adapters.rewriting import Rewriting, add_modules
from thawline.models.adapters.shapes import shapes_of, why_not
from thawline.models.cuts import Division, Unit, cuts_of
from thawline.models.randomness import own_randomness
from thawline.models.splitting import part
from thawline.models.steps import State
from thawline.models.tracing import Added

NAME = "prompts"
"""Name of the sub-module that holds them, under the indices of their units."""


class Prompt(Added):
    """Turn (B, N, D) tokens into (B, N + count, D): those that learn come last, so a class token stays
    first."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.empty(count, width))
        nn.init.xavier_uniform_(self.tokens)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return torch.cat([tokens, self.tokens.to(tokens.dtype).expand(len(tokens), -1, -1)], dim=1)


class Without(Added):
    """Turn (B, N + count, D) tokens into (B, N, D).

    `before` is what the prompt was given. It is read so that no cut parts the prompt from the unit that
    it was put before: it has to be frozen or learn together with that unit.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, tokens: torch.Tensor, before: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002
        return tokens[:, : tokens.shape[1] - self.count]


@dataclass(frozen=True)
class _Place:
    """A unit that is given tokens (`given`), and the last cut inside it at which there are as many."""

    index: int
    start: int
    given: fx.Node
    width: int
    end: int
    made: fx.Node


def learning(network: nn.Module) -> set[str]:
    """Return the names of the parameters that learn: those that were added."""
    return set(added_parameters(network))


def add(whole: Division, units: Sequence[Unit], *, prompt_tokens: int, prompt_deep: bool) -> None:
    """Add `prompt_tokens` tokens before each of `units` that is given tokens, lets them see each other and
    hands on as many, and take them away behind it (deep); or before the first and away behind the last such
    unit (shallow).

    What a block makes of its own prompts is replaced at the next block's anyway, so nothing is lost where a
    block is two units, attention and MLP, and only the first gets prompts.

    Raises `UserError` when there is no such unit, or when the network cannot do with more tokens.
    """
    places, pictures = _places(whole, units)
    network, rewriting = whole.trace.network, Rewriting(whole)
    if not places:
        raise UserError(
            f"{type(network).__name__} has no unfrozen unit in which tokens (B, N, D) attend to each other, "
            "so there is no place for prompts.\n  Choose a vision transformer, such as vit_b_16, a "
            "smaller depth, or another method."
        )
    starts = places if prompt_deep else places[:1]
    ends = places if prompt_deep else [places[0], *places[1:][-1:]]
    made = nn.ModuleDict({f"{place.index}": Prompt(prompt_tokens, place.width) for place in starts})
    made.update(
        {f"{place.index}_end": Without(prompt_tokens * (prompt_deep or place is ends[-1])) for place in ends}
    )
    add_modules(network, NAME, made)
    for place in ends:
        begun = place in starts
        before = rewriting.insert(place.start, f"{NAME}.{place.index}", place.given) if begun else ()
        rewriting.insert(place.end, f"{NAME}.{place.index}_end", place.made, before)
    reason = why_not(whole.trace, pictures)
    if reason is not None:
        delattr(network, NAME)
        raise UserError(
            f"{type(network).__name__} cannot do with further tokens: {reason}\n  Choose a vision "
            "transformer, such as vit_b_16, or another method."
        ) from reason
    rewriting.install()


def _places(whole: Division, units: Sequence[Unit]) -> tuple[list[_Place], torch.Size]:
    """Return the places for prompts, and the shape of the pictures they were found with."""
    cuts = dict(cuts_of(whole.nodes, State(whole.trace)))
    steps = [whole.nodes[0], *whole.alive, *cuts.values()]
    shape = dict(zip(steps, shapes_of(whole.trace, steps), strict=True))
    places = []
    for unit in units:
        start, given = whole.positions[unit.index], whole.alive[unit.index]
        inside = range(start + 1, whole.positions[unit.index + 1] + 1)
        ends = [at for at in inside if at in cuts and shape[cuts[at]] == shape[given]]
        if len(shape[given]) == 3 and ends:
            place = _Place(unit.index, start, given, shape[given][-1], ends[-1], cuts[ends[-1]])
            if _attends(whole, place, shape[given]):
                places.append(place)
    return places, shape[whole.nodes[0]]


def _attends(whole: Division, place: _Place, shape: torch.Size) -> bool:
    """Tell whether what a unit makes of other tokens depends on the last one, by its structure.

    Its weights say nothing here: a branch that starts at zero sees nothing before it is trained, and a
    trained network, loaded again, must get its prompts where it had them. So weights are drawn for the
    question, always the same.
    """
    network = whole.trace.network
    like = next(tensor for tensor in network.parameters() if tensor.is_floating_point())
    # Only as far as there are tokens: their mean depends on all of them.
    positions, alive = (place.start, place.end), (place.given, place.made)
    until = replace(whole, positions=positions, alive=alive, units=whole.units[:1])
    modes = [(module, module.training) for module in network.modules()]
    try:
        unit = part(until, 0, 1).eval()
        with own_randomness(0), torch.enable_grad():
            tokens = torch.randn(1, *shape[1:]).to(like.device, like.dtype).requires_grad_()
            others = functional_call(unit, _drawn(unit), (tokens,))[:, :-1]
            weights = torch.randn(others.shape).to(others)
            (gradient,) = torch.autograd.grad((weights * others).sum(), tokens)
    finally:
        for module, mode in modes:
            module.training = mode
    return bool(gradient[:, -1].any())


def _drawn(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return a random value for each parameter, none of them zero, that keeps what passes through in
    scale."""
    named = [(name, tensor) for name, tensor in module.named_parameters() if tensor.is_floating_point()]
    return {name: (torch.randn(tensor.shape) / _inputs(tensor) ** 0.5).to(tensor) for name, tensor in named}


def _inputs(weight: torch.Tensor) -> int:
    """Return how many values a matrix or kernel sums up for one of its outputs; 1 for anything smaller."""
    return weight[0].numel() if weight.dim() > 1 else 1
