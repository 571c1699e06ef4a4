import copy

import pytest
import torch
from torch import nn

from thawline.config.errors import UserError
from thawline.models.cuts import divide, logits_of, units
from thawline.models.splitting import part, require_rows, split
from thawline.models.zoo import build


@pytest.mark.parametrize(
    "network",
    ["resnet18", "mobilenet_v3", "shufflenet", "squeezenet1_1", "densenet", "vit", "swin", "convnext"],
    indirect=True,
)
@torch.no_grad()
def test_every_cut_is_exact(network, pictures):
    expected = network.eval()(pictures)
    whole = divide(network)
    features = pictures
    for depth in range(len(whole.units) + 1):
        assert len(features) == len(pictures)
        assert torch.equal(part(whole, depth)(features), expected)
        if depth < len(whole.units):
            features = part(whole, depth, depth + 1)(features)


def test_every_cut_is_exact_while_training(network, pictures):
    whole = divide(network)
    for depth in (1, len(whole.units) // 2, len(whole.units)):
        prefix, suffix = (side.train() for side in split(network, depth))
        torch.manual_seed(3)
        found = suffix(prefix(pictures))
        torch.manual_seed(3)
        assert torch.equal(found, network.train()(pictures))


def test_the_two_sides_share_the_networks_tensors_under_the_same_names(network):
    prefix, suffix = split(network, 2)
    ours = dict(network.named_parameters())
    shared = [*prefix.named_parameters(), *suffix.named_parameters()]
    assert sorted(name for name, _ in shared) == sorted(ours)
    assert all(parameter is ours[name] for name, parameter in shared)
    assert set(prefix.state_dict()) | set(suffix.state_dict()) == set(network.state_dict())


def test_depth_0_is_the_network_itself(resnet):
    prefix, suffix = split(resnet, 0)
    assert isinstance(prefix, nn.Identity)
    assert suffix is resnet


@pytest.mark.parametrize("depth", [-1, 10])
def test_other_depths_are_a_mistake(resnet, depth):
    with pytest.raises(ValueError, match="depths go from 0 to 9"):
        split(resnet, depth)


def test_each_side_has_its_own_mode(network):
    prefix, suffix = split(network.train(), 2)
    prefix.eval()
    assert not any(module.training for module in prefix.modules())
    assert all(module.training for module in suffix.modules())


def test_a_dropout_layer_used_on_both_sides_has_two_modes():
    class Reused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.third, self.head = (nn.Linear(50, 50) for _ in range(4))
            self.dropout = nn.Dropout(0.5)

        def forward(self, x):
            x = self.dropout(self.first(x)) * 1
            return self.head(self.third(self.dropout(self.second(x))))

    prefix, suffix = split(Reused(), 2)
    prefix.eval()
    suffix.train()
    x = torch.ones(1, 50)
    assert torch.equal(prefix(x), prefix(x))
    assert not torch.equal(suffix(prefix(x)), suffix(prefix(x)))


class WorksInPlace(nn.Module):
    """A pre-activation block: the first thing it does changes what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return nn.functional.relu_(x) + self.layer(x)


def test_features_are_not_changed_by_the_suffix():
    network = nn.Sequential(nn.Linear(4, 4), WorksInPlace(), nn.Linear(4, 5))
    prefix, suffix = split(network, 1)
    x = torch.randn(8, 4)
    features = prefix(x).detach()
    kept = features.clone()
    assert torch.equal(suffix(features), network(x))
    assert torch.equal(features, kept)
    assert (features < 0).any()


@pytest.fixture(scope="module")
def googlenet() -> nn.Module:
    return build("googlenet", 5, seed=0, aux_logits=True, init_weights=False).double()


def test_auxiliary_heads_train_where_the_suffix_can_compute_them(googlenet, pictures):
    found = {}
    for depth in (0, 6, 9, 10):
        _, suffix = split(googlenet, depth)
        prefix = part(divide(googlenet), 0, depth).eval()
        output = suffix.train()(prefix(pictures))
        found[units(googlenet)[depth - 1].name if depth else ""] = len(logits_of(output)[1])
    assert found == {"": 2, "inception4a": 2, "inception4d": 1, "inception4e": 0}


def test_auxiliary_logits_are_those_of_the_network(googlenet, pictures):
    for module in googlenet.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    prefix, suffix = (side.train() for side in split(googlenet, 5))
    main, auxiliary = logits_of(suffix(prefix(pictures)))
    expected = googlenet.train()(pictures)
    assert torch.equal(main, expected.logits)
    assert torch.equal(auxiliary[0], expected.aux_logits2)
    assert torch.equal(auxiliary[1], expected.aux_logits1)


def test_auxiliary_heads_are_silent_in_evaluation_mode(googlenet, pictures):
    prefix, suffix = (side.eval() for side in split(googlenet, 5))
    googlenet.eval()
    main, auxiliary = logits_of(suffix(prefix(pictures)))
    assert auxiliary == ()
    assert torch.equal(main, googlenet(pictures))


def test_a_copy_of_a_side_is_independent(resnet, pictures):
    _, suffix = split(resnet, 9)
    twin = copy.deepcopy(suffix)
    with torch.no_grad():
        next(twin.parameters()).zero_()
    features = torch.ones(2, resnet.fc.in_features, dtype=torch.float64)
    assert not torch.equal(twin(features), suffix(features))


class MixesPictures(nn.Module):
    def forward(self, x):
        return x.reshape(-1, 2)


def test_a_cut_without_one_row_per_picture_is_found_out():
    prefix, _ = split(nn.Sequential(nn.Linear(4, 4), MixesPictures(), nn.Linear(2, 5)), 1)
    pictures = torch.randn(3, 4)
    with pytest.raises(UserError, match=r"hands over \(6, 2\) for 3 pictures"):
        require_rows(prefix(pictures), pictures)


class WithAuxiliaryHead(nn.Module):
    """Branches on its mode in the outermost forward, with other constants in each."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head, self.extra = (nn.Linear(4, 4) for _ in range(4))

    def forward(self, x):
        x = self.first(x) + torch.arange(4)
        extra = self.extra(x) * torch.arange(1, 5) if self.training else None
        factor = torch.tensor([1.0, 2.0, 3.0, 4.0])
        x = self.head(self.second(x) * factor)
        return {"logits": x, "extra": extra} if self.training else x


def test_both_ways_through_a_network_find_their_constants():
    network, x = WithAuxiliaryHead(), torch.randn(3, 4)
    prefix, suffix = split(network, 1)
    assert torch.equal(suffix.eval()(prefix.eval()(x)), network.eval()(x))
    main, auxiliary = logits_of(suffix.train()(prefix.train()(x)))
    expected = network.train()(x)
    assert torch.equal(main, expected["logits"])
    assert torch.equal(*auxiliary, expected["extra"])
    assert set(dict(suffix.named_parameters())) == {
        f"{name}.{kind}" for name in ("second", "head", "extra") for kind in ("weight", "bias")
    }


class OtherWeightsWhileTraining(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(4, 4), nn.Linear(4, 5)
        self.one, self.two = (nn.Parameter(torch.randn(4)) for _ in range(2))

    def forward(self, x):
        return self.head(self.first(x) * (self.one if self.training else self.two))


def test_a_network_that_trains_other_weights_is_refused():
    with pytest.raises(UserError, match="in another way while training"):
        split(OtherWeightsWhileTraining(), 1)
