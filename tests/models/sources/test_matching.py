"""Which tensor of a file is which of a network: names, prefixes, heads, order."""

import pytest
import torch

from thawline.config.errors import UserError
from thawline.models.sources.matching import Tensors, by_name, by_order

HEADS = ("fc",)
NETWORK = {
    "stem.weight": torch.zeros(4, 3, 3, 3),
    "bn.weight": torch.zeros(4),
    "bn.running_mean": torch.zeros(4),
    "bn.num_batches_tracked": torch.tensor(0),
    "fc.weight": torch.zeros(1, 4),
    "fc.bias": torch.zeros(1),
}


def filled(classes: int = 7) -> dict[str, torch.Tensor]:
    """The network's tensors with other numbers in them and a head for so many classes."""
    shapes = {name: tuple(tensor.shape) for name, tensor in NETWORK.items()}
    shapes |= {"fc.weight": (classes, 4), "fc.bias": (classes,)}
    ones = {name: torch.rand(shape) for name, shape in shapes.items()}
    return ones | {"bn.num_batches_tracked": torch.tensor(9)}


def prefixed(prefix: str, tensors: Tensors | None = None) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in (tensors or filled()).items()}


def body(tensors: Tensors) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in tensors.items() if "fc." not in name}


def named(given: Tensors, **others: bool):
    return by_name(given, NETWORK, HEADS, "leaves.pth", **others)


def ordered(given: Tensors):
    return by_order(given, NETWORK, HEADS, "leaves.pth")


@pytest.mark.parametrize(
    "prefix",
    ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "net.", "backbone."]
    + ["encoder.", "encoder_q.", "module.encoder_q.", "module.model.backbone."],
)
def test_known_prefixes_are_taken_off(prefix):
    given = prefixed(prefix)
    found = named(given)
    assert (found.prefix, found.classes, found.dropped) == (prefix, 7, ())
    assert found.pairs == {name: prefix + name for name in NETWORK}
    assert all(torch.equal(found.tensors[name], given[prefix + name]) for name in NETWORK)


def test_what_lies_beside_the_network_is_dropped_by_name():
    beside = {"criterion.weight": torch.zeros(3), "n_averaged": torch.tensor(3)}
    found = named(prefixed("module.") | beside)
    assert found.dropped == ("criterion.weight", "n_averaged")


def test_what_counts_operations_does_not_matter():
    thop = {"total_ops": torch.zeros(1), "stem.total_ops": torch.zeros(1), "bn.total_params": torch.zeros(1)}
    assert named(filled() | thop).dropped == tuple(sorted(thop))


@pytest.mark.parametrize("prefix", ["", "encoder."])
def test_a_body_without_a_head_is_enough(prefix):
    found = named(prefixed(prefix, body(filled())))
    assert found.classes is None
    assert found.tensors.keys() == body(NETWORK).keys()


@pytest.mark.parametrize(
    "head",
    [
        {"fc.weight": torch.zeros(7, 5), "fc.bias": torch.zeros(7)},
        {"fc.weight": torch.zeros(7, 4)},
        {"fc.weight": torch.zeros(7, 4), "fc.bias": torch.zeros(3)},
        {"fc.0.weight": torch.zeros(4, 4), "fc.2.weight": torch.zeros(7, 4)},
    ],
)
def test_a_head_of_another_kind_is_dropped_as_a_whole(head):
    found = named(body(filled()) | head)
    assert found.classes is None
    assert found.dropped == tuple(sorted(head))


def test_counters_of_batches_may_be_missing():
    given = {name: tensor for name, tensor in filled().items() if "num_batches" not in name}
    assert NETWORK.keys() - named(given).tensors.keys() == {"bn.num_batches_tracked"}


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_numbers_of_another_precision_become_the_networks(kind):
    given = {
        name: tensor.to(kind) if tensor.is_floating_point() else tensor for name, tensor in filled().items()
    }
    found = named(given)
    assert {name: tensor.dtype for name, tensor in found.tensors.items()} == {
        name: tensor.dtype for name, tensor in NETWORK.items()
    }
    assert torch.equal(found.tensors["stem.weight"], given["stem.weight"].float())


@pytest.mark.parametrize("kind", [torch.int8, torch.complex64])
def test_whole_and_complex_numbers_are_no_weights(kind):
    with pytest.raises(UserError, match=r"- stem.weight \(4, 3, 3, 3\)"):
        named(filled() | {"stem.weight": torch.zeros(4, 3, 3, 3, dtype=kind)})


def test_less_than_the_whole_body_is_refused_by_name():
    given = filled()
    del given["bn.running_mean"]
    with pytest.raises(UserError, match=r"^leaves.pth does not fit .*:\n  - bn.running_mean \(4,\)$"):
        named(given)


def test_another_shape_is_named_on_both_sides():
    given = filled() | {"bn.weight": torch.zeros(8)}
    with pytest.raises(UserError, match=r":\n  - bn.weight \(4,\)\n  [+] bn.weight \(8,\)$"):
        named(given)


@pytest.mark.parametrize("more", ["stem.1.weight", "bn.bias"])
def test_a_larger_network_is_refused_by_what_it_has_more(more):
    """All of the smaller network is there, and it would run, and compute something else."""
    with pytest.raises(UserError, match=rf"missing, [+] unexpected\):\n  [+] {more} \(4,\)$"):
        named(filled() | {more: torch.zeros(4)})


def test_two_networks_in_one_file_are_refused():
    with pytest.raises(UserError, match=r"holds 2 networks that fit, under 'net.', 'encoder.'"):
        named(prefixed("encoder.") | prefixed("net."))


def test_a_network_whose_own_names_begin_like_a_prefix_keeps_them():
    network = prefixed("model.", NETWORK)
    assert by_name(prefixed("model."), network, ("model.fc",), "leaves.pth").prefix == ""
    assert by_name(prefixed("module.model."), network, ("model.fc",), "leaves.pth").prefix == "module."


def test_long_lists_are_cut_short():
    with pytest.raises(UserError, match=r"\n  [+] and 18 more"):
        named({f"other.{index}": torch.zeros(1) for index in range(30)})


def renamed(tensors: Tensors) -> dict[str, torch.Tensor]:
    return {
        f"layer{index}.{name.rpartition('.')[2]}": each for index, (name, each) in enumerate(tensors.items())
    }


def test_other_names_in_the_same_order_are_offered_and_matched():
    given = renamed(filled())
    with pytest.raises(UserError, match="same shapes in the same order.*source.match=order"):
        named(given)
    found = ordered(given)
    assert found.pairs == dict(zip(NETWORK, given, strict=True))
    assert (found.classes, found.dropped) == (7, ())
    assert all(torch.equal(found.tensors[name], given[theirs]) for name, theirs in found.pairs.items())


def test_order_is_not_offered_where_the_file_keeps_none():
    with pytest.raises(UserError) as error:
        named(renamed(filled()), ordered=False)
    assert "source.match" not in str(error.value)


def test_by_order_a_head_and_counters_may_be_missing():
    given = renamed(body(filled()))
    del given["layer3.num_batches_tracked"]
    found = ordered(given)
    assert found.classes is None
    assert found.tensors.keys() == body(NETWORK).keys() - {"bn.num_batches_tracked"}


def test_by_order_another_shape_is_named():
    given = renamed(filled() | {"bn.weight": torch.zeros(8)})
    with pytest.raises(
        UserError, match=r"layer1.weight \(8,\) stands where the network has bn.weight \(4,\)"
    ):
        ordered(given)


def test_by_order_another_number_of_tensors_is_refused():
    with pytest.raises(UserError, match="has 6 tensors, and the network 5, 3 of them in its body"):
        ordered(renamed(filled() | {"more.weight": torch.zeros(1)}))
