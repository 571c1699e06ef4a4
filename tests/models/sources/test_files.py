"""The state dict in a file, whatever is around it; pickled code is never run."""

import argparse
import datetime
import os
import pickle
from collections import OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric.utilities.data import AttributeDict
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import nn

from thawline.config.errors import UserError
from thawline.models.sources.files import read_state_dict

TENSORS = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.arange(2.0)}
AVERAGE = {name: tensor + 1 for name, tensor in TENSORS.items()}


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def assert_tensors(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert list(found) == list(wanted)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("name", ["a.ckpt", "a.pth.tar", "A.PTH"])
def test_a_state_dict_is_read_whatever_its_file_is_called(tmp_path, name):
    found = read_state_dict(saved(tmp_path / name, OrderedDict(TENSORS)))
    assert_tensors(found.tensors, TENSORS)
    assert (found.taken, found.left, found.ordered) == ("", (), True)


@pytest.mark.parametrize("name", ["a.safetensors", "A.SAFETENSORS"])
def test_safetensors_are_read_but_keep_no_order(tmp_path, name):
    save_file(TENSORS, tmp_path / name, metadata={"format": "pt", "author": "x"})
    found = read_state_dict(tmp_path / name)
    assert found.tensors.keys() == TENSORS.keys()
    assert not found.ordered


@pytest.mark.parametrize("wrapper", ["state_dict", "module", "model.state_dict"])
def test_wrappers_are_taken_off(tmp_path, wrapper):
    content = TENSORS
    for name in reversed(wrapper.split(".")):
        content = {name: content, "epoch": 3, "best": torch.tensor(0.7)}
    found = read_state_dict(saved(tmp_path / "a.pth", content))
    assert_tensors(found.tensors, TENSORS)
    assert (found.taken, found.left) == (wrapper, ())


@pytest.mark.parametrize(("average", "plain"), [("state_dict_ema", "state_dict"), ("model_ema", "model")])
def test_of_averaged_and_last_weights_the_averaged_are_taken(tmp_path, average, plain):
    found = read_state_dict(saved(tmp_path / "a.pth", {plain: TENSORS, average: AVERAGE}))
    assert_tensors(found.tensors, AVERAGE)
    assert (found.taken, found.left) == (average, (plain,))


@pytest.mark.parametrize(
    "beside",
    [
        argparse.Namespace(lr=0.1, out=Path("runs")),
        AttributeDict(lr=0.1),
        OmegaConf.create({"lr": 0.1, "layers": [1, {"width": None}]}),
        defaultdict(list, {1: [2]}),
        np.float64(0.9),
        np.arange(3),
        datetime.datetime(2024, 1, 1),
        torch.__version__,
        {"kind": int},
    ],
    ids=lambda beside: type(beside).__name__,
)
def test_harmless_things_beside_the_weights_do_not_matter(tmp_path, beside):
    path = saved(tmp_path / "a.ckpt", {"state_dict": TENSORS, "args": beside, "more": [beside, 3]})
    assert_tensors(read_state_dict(path).tensors, TENSORS)


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("protocol", ["zip", "pickle"])
def test_pickled_code_is_not_run(tmp_path, protocol):
    path, trace = tmp_path / "evil.pth", tmp_path / "it-ran"
    content = {**TENSORS, "more": Malicious(trace)}
    if protocol == "zip":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(UserError, match=r"pickled Python objects.*, which are not run\.\n  .* save its"):
        read_state_dict(path)
    assert not trace.exists()


def test_harmless_classes_are_replaced_and_not_even_made(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.pth", {"model": TENSORS, "args": argparse.Namespace(lr=0.1)})
    monkeypatch.setattr(argparse.Namespace, "__init__", lambda *_, **__: pytest.fail("it was made"))
    monkeypatch.setattr(argparse.Namespace, "__setattr__", lambda *_: pytest.fail("it was filled"))
    assert_tensors(read_state_dict(path).tensors, TENSORS)


def test_a_whole_pickled_network_is_refused_with_what_to_do(tmp_path):
    path = saved(tmp_path / "model.pt", nn.Linear(2, 2))
    with pytest.raises(
        UserError, match=r"whole pickled network .*would run code.*\n.*torch.save\(model.state_dict"
    ):
        read_state_dict(path)


@pytest.mark.parametrize(
    "content", [[torch.zeros(1)], {}, {"weight": torch.zeros(1), "epoch": 3}, {"model": {}}]
)
def test_other_content_is_refused(tmp_path, content):
    with pytest.raises(UserError, match=r"holds no state dict.*\n  Save one"):
        read_state_dict(saved(tmp_path / "other.pth", content))


@pytest.mark.filterwarnings("ignore:`torch.jit", "ignore:'torch.load' received")
def test_a_compiled_script_is_refused(tmp_path):
    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "script.pt")
    with pytest.raises(UserError, match="is not a file of torch.save: .*TorchScript"):
        read_state_dict(tmp_path / "script.pt")


@pytest.mark.parametrize("content", [b"", b"no tensors here", b"PK\x03\x04 not really"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_files_are_refused(tmp_path, content, suffix):
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        read_state_dict(path)
