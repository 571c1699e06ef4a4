import pytest
import torch
from torch import nn

from thawline.config.errors import UserError
from thawline.models.freezing import state_hashes
from thawline.models.zoo import architectures, build

VIT = "torchvision.models.vision_transformer.VisionTransformer"


def test_builders_take_classes_and_options():
    network = build("mobilenet_v3_small", 7, dropout=0.5)
    assert network.classifier[3].out_features == 7
    assert network.classifier[2].p == 0.5


def test_any_class_is_named_by_its_path(pictures):
    network = build(VIT, 7, image_size=32, patch_size=8, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=16)
    assert network(pictures.float()).shape == (3, 7)


def test_timm_models_are_named_with_a_prefix(pictures):
    assert build("timm:mobilenetv3_small_050", 7)(pictures.float()).shape == (3, 7)
    assert build("timm:mobilenetv3_small_050", 7, channels=1)(pictures[:, :1].float()).shape == (3, 7)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("resnet19", r"torchvision architecture 'resnet19'[.]\n  nearest: resnet1"),
        ("efficientnet-b0", "nearest: efficientnet_b0"),
        ("qqqq", "see the torchvision architectures of torchvision"),
        ("timm:resnet19", r"timm model 'resnet19'[.]\n  nearest: resnet1"),
        ("torchvision.models.no.Such", "torchvision.models.no.Such cannot be imported"),
        ("torchvision.models.Such", "has no attribute 'Such'"),
        ("..", "cannot be imported"),
        ("torch.pi", "torch.pi is a float, not a class or function"),
        ("builtins.dict", "builtins.dict made a dict, not a torch.nn.Module"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(name, nearest):
    with pytest.raises(UserError, match=nearest):
        build(name, 7)


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("resnet18", {"depth": 3}, "num_classes=7, depth=3:\n  .*unexpected keyword argument 'depth'"),
        ("resnet18", {"weights": "DEFAULT"}, "weights are not an option: set source.weights"),
        ("torch.nn.Linear", {}, "torch.nn.Linear cannot be built with num_classes=7:"),
        (VIT, {"image_size": 33, "patch_size": 8}, "cannot be built"),
    ],
)
def test_options_a_builder_does_not_take_are_refused(name, options, why):
    with pytest.raises(UserError, match=why):
        build(name, 7, **options)


@pytest.mark.parametrize(("name", "channels"), [("mobilenet_v3_small", 1), ("squeezenet1_1", 4)])
def test_the_first_convolution_takes_as_many_channels_as_asked(name, channels):
    network = build(name, 7, channels=channels).eval()
    assert network(torch.randn(2, channels, 32, 32)).shape == (2, 7)
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    assert first.weight.isfinite().all()
    assert first.weight.std() > 0


def test_three_channels_change_nothing():
    three = build("squeezenet1_1", 7, channels=3, seed=0)
    assert state_hashes(three) == state_hashes(build("squeezenet1_1", 7, seed=0))


def test_a_network_without_a_convolution_of_three_channels_cannot_be_adapted(monkeypatch):
    def flat(num_classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(12, num_classes))

    monkeypatch.setattr(nn, "flat", flat, raising=False)
    with pytest.raises(UserError, match=r"1 channel\(s\)(.*\n)*.*Set input.channels: 3"):
        build("torch.nn.flat", 7, channels=1)


def test_the_seed_decides_everything_and_spares_the_global_generator():
    state = torch.get_rng_state()
    one, again, other = (build("shufflenet_v2_x0_5", 7, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert state_hashes(one) == state_hashes(again)
    assert state_hashes(one)["conv1.0.weight"] != state_hashes(other)["conv1.0.weight"]


def test_without_a_seed_the_global_generator_decides():
    hashes = []
    for _ in range(2):
        torch.manual_seed(4)
        hashes.append(state_hashes(build("mobilenet_v3_small", 7)))
    assert hashes[0] == hashes[1]


def test_auxiliary_heads_are_only_there_when_asked_for():
    assert build("googlenet", 7, init_weights=False).aux1 is None
    assert build("googlenet", 7, init_weights=False, aux_logits=True).aux1 is not None


def test_the_list_of_architectures_is_torchvisions():
    assert {"resnet18", "vit_b_16", "maxvit_t", "googlenet"} <= set(architectures())
