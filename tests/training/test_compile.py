"""A compiled network trains as it does without, and nothing of it stays."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests_trainings import CPU, Build, recipe

from thawline.config.errors import UserError
from thawline.config.sections import OptimizerName
from thawline.data.store import Store
from thawline.training.fit import compiled
from thawline.training.soup import finetune_soup

COMPILED = replace(CPU, compile=True)

SETTINGS = recipe(depth=1, optimizer=OptimizerName.sgd, body_lr=1e-3, head_lr=1e-2)
"""Both sides of a cut. SGD: what AdamW makes of a gradient that is zero but for rounding is as large as any
other step."""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_it_comes_to_the_same(build_small: Build, toy_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    # a pool of compilers takes longer to start than what is compiled here
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)
    found = []
    for settings in (CPU, COMPILED):
        # dropout draws other numbers where it is compiled
        network = build_small(0)
        network.dropout = torch.nn.Identity()
        fitted = finetune_soup(network, SETTINGS, toy_store, settings, seed=0, mirror=False)
        found.append((fitted.row, network))
    (plain, _), (fast, network) = found
    for name in ("train_loss", "val_loss"):
        assert fast[name] == pytest.approx(plain[name], abs=1e-4)
    assert all(module._compiled_call_impl is None for module in network.modules())


def test_no_compiler_is_said(build_small: Build, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    wanted = r"(?s)trainer\.compile.*C\+\+ compiler.*trainer\.compile=false"
    with pytest.raises(UserError, match=wanted), compiled(build_small(0), COMPILED):
        pass


@pytest.mark.slow
def test_networks_are_as_they_were_afterwards(build_small: Build) -> None:
    network = build_small(0)
    with compiled(network, COMPILED):
        assert network._compiled_call_impl is not None
    assert network._compiled_call_impl is None
    with compiled(network, CPU):
        assert network._compiled_call_impl is None
