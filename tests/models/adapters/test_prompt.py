"""Prompt tokens for transformers, with a class token and without one."""

import copy

import pytest
import torch
from tests_networks import ReZero
from torch import nn
from torchvision.models.vision_transformer import VisionTransformer

from thawline.config.errors import UserError
from thawline.config.sections import Finetune, Method
from thawline.models.adapters.adapt import adapt
from thawline.models.adapters.adaptation import adaptation_of
from thawline.models.adapters.added import added_parameters
from thawline.models.cuts import divide, units
from thawline.models.freezing import state_hashes
from thawline.models.head import with_fresh_head
from thawline.models.splitting import part


class Patches(nn.Module):
    """Patches of a picture as tokens, whose mean is classified: there is no class token."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 8, stride=8)
        self.blocks = nn.Sequential(
            *(nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True) for _ in range(3))
        )
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.blocks(self.patches(images).flatten(2).transpose(1, 2))).mean(1))


BUILDERS = {
    "class token": lambda: VisionTransformer(32, 8, 3, 2, 8, 16, num_classes=5),
    "mean": lambda: Patches(5),
}


@pytest.fixture(params=BUILDERS)
def transformer(request) -> nn.Module:
    torch.manual_seed(0)
    return with_fresh_head(BUILDERS[request.param]().double().eval(), 3)


def prompted(network: nn.Module, *frozen: int, deep: bool = True, tokens: int = 2) -> nn.Module:
    recipe = Finetune(method=Method.prompt, prompt_tokens=tokens, prompt_deep=deep)
    adaptation = adaptation_of(recipe, frozen)
    assert adaptation is not None
    return adapt(network, adaptation, seed=1)


@pytest.mark.parametrize("deep", [True, False])
@torch.no_grad()
def test_prompts_change_the_output_and_keep_units_and_cuts(transformer, pictures, deep):
    expected, before = transformer(pictures), units(transformer)
    prompted(transformer, 0, deep=deep)
    changed = transformer(pictures)
    assert changed.shape == expected.shape
    assert not torch.allclose(changed, expected)
    after = units(transformer)
    assert [unit.name for unit in after] == [unit.name for unit in before]
    whole, features = divide(transformer), pictures
    for depth in range(len(after)):
        features = part(whole, depth, depth + 1)(features)
    assert torch.equal(part(whole, len(after))(features), changed)
    assert torch.equal(copy.deepcopy(transformer)(pictures), changed)


def holders(network: nn.Module) -> list[int]:
    added = added_parameters(network)
    return [unit.index for unit in units(network) if added & set(unit.parameters)]


def test_deep_prompts_lie_in_every_unfrozen_unit_with_attention(transformer):
    attention = [
        unit.index for unit in units(transformer) if any("in_proj" in name for name in unit.parameters)
    ]
    assert len(attention) == 3
    assert holders(prompted(copy.deepcopy(transformer))) == attention
    assert holders(prompted(copy.deepcopy(transformer), attention[0])) == attention[1:]
    assert holders(prompted(copy.deepcopy(transformer), deep=False)) == attention[:1]
    assert holders(prompted(copy.deepcopy(transformer), *range(attention[1]), deep=False)) == attention[1:2]


def test_gradients_reach_every_prompt(transformer, pictures):
    prompted(transformer)(pictures).square().sum().backward()
    for name in added_parameters(transformer):
        assert transformer.get_parameter(name).grad.any()


@torch.no_grad()
def test_tokens_are_those_of_the_formula():
    torch.manual_seed(0)
    network = Patches(5).double().eval()
    pictures = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    tokens = network.patches(pictures).flatten(2).transpose(1, 2)
    deep, shallow = (prompted(copy.deepcopy(network), deep=deep) for deep in (True, False))
    for block, prompt in zip(network.blocks, [deep.prompts[name] for name in ("1", "2", "3")], strict=True):
        tokens = block(torch.cat([tokens, prompt.tokens.expand(2, -1, -1)], 1))[:, :-2]
    torch.testing.assert_close(deep(pictures), network.head(network.norm(tokens).mean(1)))

    tokens = network.patches(pictures).flatten(2).transpose(1, 2)
    longer = network.blocks(torch.cat([tokens, shallow.prompts["1"].tokens.expand(2, -1, -1)], 1))
    torch.testing.assert_close(shallow(pictures), network.head(network.norm(longer)[:, :-2].mean(1)))


@pytest.mark.parametrize("network", ["swin"], indirect=True)
def test_a_network_without_tokens_is_refused_and_told_what_to_do(network):
    with pytest.raises(UserError, match=r"(?s)no unfrozen unit in which tokens .*such as vit_b_16"):
        prompted(network)


def test_tokens_that_never_see_each_other_get_no_prompts():
    with pytest.raises(UserError, match="no place for prompts"):
        prompted(Tokenless())


def test_where_prompts_go_does_not_depend_on_the_weights():
    network = ReZero(2).double()
    for block in network.blocks:
        nn.init.zeros_(block.share)
    before = state_hashes(network)
    state = torch.get_rng_state()
    assert holders(prompted(network)) == [1, 2]
    assert torch.equal(torch.get_rng_state(), state)
    assert before.items() <= state_hashes(network).items()


class Tokenless(nn.Module):
    """Tokens that never see each other."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 8, stride=8)
        self.mixer = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8))
        self.head = nn.Linear(8, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.mixer(self.patches(images).flatten(2).transpose(1, 2)).mean(1))


class Biased(nn.Module):
    """Attention with a bias for each pair of sixteen tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.bias = nn.Parameter(torch.zeros(16, 16))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens + self.attention(tokens, tokens, tokens, attn_mask=self.bias, need_weights=False)[0]


class Counting(Patches):
    def __init__(self) -> None:
        super().__init__(2)
        self.blocks = nn.Sequential(Biased())


def test_a_fixed_number_of_tokens_is_refused():
    network = Counting()
    with pytest.raises(UserError, match=r"(?s)Counting cannot do with further tokens: .*such as vit_b_16"):
        prompted(network)
    assert not hasattr(network, "prompts")
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 2)
