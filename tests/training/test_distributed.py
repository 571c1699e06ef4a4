"""Several processes train what one would: the same curves, the same weights, killed or not."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from conftest import TRANSFORM, toy_pictures, write_toy_store
from safetensors.numpy import load_file

from thawline.artifacts import CARD, HISTORY, MODEL, RECIPE, Artifacts
from thawline.by_hand import scratch_name
from thawline.config.composition import compose, to_config
from thawline.config.sections import (
    ClassWeights,
    Config,
    Contender,
    Finetune,
    Keep,
    OptimizerName,
    Phases,
)
from thawline.data.store import write_store
from thawline.models.card import ModelCard
from thawline.models.checkpoint import save_model
from thawline.models.zoo import build
from thawline.training.finetune import finetune
from thawline.training.pretrain import pretrain
from thawline.training.recipe import Chosen, write_chosen

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = ["train_loss", "val_loss", "val_accuracy"]
BASE = (
    "contenders=[finetuned]",
    *("trainer.accelerator=cpu", "trainer.threads=1", "tracking.experiment=distributed"),
    *("pretrain.epochs=4", "pretrain.batch_size=8", "pretrain.learning_rate=2e-2"),
)
PLAIN = ("model.architecture=tests_networks.Plain",)
# adamw would make the rounding errors of a bias that BatchNorm takes out again as large as any gradient
NORMED = ("model.architecture=tests_networks.Small", "+model.options.dropout=0", "pretrain.optimizer=sgd")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Scripts and configuration of a repository of its own."""
    for name in ("conf", "pipelines"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return tmp_path


def artifacts_of(project: Path, overrides: tuple[str, ...]) -> Artifacts:
    """Where a stage called by hand with `overrides` reads and writes; its source store is made here."""
    artifacts = Artifacts.under(project, scratch_name(compose(ROOT, list(overrides))))
    if not artifacts.data_output("source").exists():
        make_source(artifacts)
    return artifacts


def make_source(artifacts: Artifacts) -> None:
    """26 pictures to train on, in batches of 8, 8, 8 and 2; 14 to validate."""
    write_toy_store(artifacts.data_output("source"), {"train": 13, "val": 7})


def command(project: Path, stage: str, overrides: tuple[str, ...]) -> list[str]:
    return [str(project / "pipelines" / f"{stage}.py"), *overrides]


def start(project: Path, arguments: list[str]) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests"), str(project)])
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=project,
        env={**kept, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    """What the process wrote, once it has ended with `code`."""
    out, errors = process.communicate(timeout=300)
    assert process.returncode == code, errors
    return out + errors


def run(project: Path, stage: str, *overrides: str) -> Artifacts:
    artifacts = artifacts_of(project, overrides)
    finish(start(project, command(project, stage, overrides)))
    return artifacts


def alone(
    stage: Callable[[Config, Artifacts], None], artifacts: Artifacts, overrides: tuple[str, ...]
) -> Artifacts:
    """What a stage makes in one process: in this one, which has loaded everything."""
    stage(to_config(compose(ROOT, list(overrides))), artifacts)
    return artifacts


def pretrained(artifacts: Artifacts) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    folder = artifacts.stage_output("pretrain")
    return pd.read_csv(folder / HISTORY), load_file(folder / MODEL)


def assert_same_training(
    first: tuple[pd.DataFrame, dict[str, np.ndarray]], second: tuple[pd.DataFrame, dict[str, np.ndarray]]
) -> None:
    np.testing.assert_allclose(second[0][COLUMNS], first[0][COLUMNS], rtol=0, atol=1e-4)
    assert first[1].keys() == second[1].keys()
    for name, tensor in first[1].items():
        np.testing.assert_allclose(second[1][name], tensor, rtol=0, atol=1e-3, err_msg=name)


def test_two_processes_pretrain_as_one_does(project: Path) -> None:
    overrides = (*BASE, *NORMED)
    first = pretrained(alone(pretrain, artifacts_of(project, overrides), overrides))
    assert first[0]["train_loss"].iloc[-1] < 0.9 * first[0]["train_loss"].iloc[0]
    # arguments are those of dvc.yaml: a stage of the pipeline starts its processes itself
    overrides = ("-cd", ".", "-cn", "params", *BASE, *NORMED, "trainer.devices=2")
    artifacts = Artifacts.under(project)
    make_source(artifacts)
    said = finish(start(project, command(project, "pretrain", overrides)))
    assert said.count("2 processes on 1 machine train together") == 1
    assert said.count("pretrain: epoch 1,") == 1
    assert_same_training(first, pretrained(artifacts))


def test_two_machines_pretrain_as_one_does(project: Path) -> None:
    """Each machine is one torchrun; here both are this machine. Arguments are those of dvc.yaml."""
    overrides = (*BASE, *PLAIN)
    first = pretrained(alone(pretrain, artifacts_of(project, overrides), overrides))
    artifacts = Artifacts.under(project)
    make_source(artifacts)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torchrun = [*("-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--max-restarts=0")]
    torchrun += ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "--local-addr=127.0.0.1"]
    overrides = ("-cd", ".", "-cn", "params", *BASE, *PLAIN, "trainer.nodes=2")
    machines = [start(project, [*torchrun, *command(project, "pretrain", overrides)]) for _ in range(2)]
    said = [finish(machine) for machine in machines]
    assert sum(each.count("2 processes on 2 machines train together") for each in said) == 1
    assert_same_training(first, pretrained(artifacts))


RECIPES: dict[Contender, dict[str, object]] = {
    Contender.finetuned: {"phases": Phases.gradual, "keep": Keep.best, "ema": 0.5, "l2_sp": 0.1},
    Contender.from_scratch: {
        "depth": 2,
        "class_weights": ClassWeights.balanced,
        "label_smoothing": 0.1,
        "wise_ft": 0.5,
        "soup": 2,
        "early_stopping": 1,
    },
}
"""Two recipes, whoever they are of: one call fine-tunes both."""


def test_two_processes_finetune_as_one_does(project: Path) -> None:
    """BatchNorm is frozen or learns, classes are unequal, the last batch has a single picture."""
    # sgd: see NORMED
    values = {"epochs": 4, "batch_size": 4, "body_lr": 1e-2, "head_lr": 5e-2, "seeds": 2}
    results = []
    for devices in (1, 2):
        both = "contenders=[finetuned,from_scratch]"
        overrides = (*BASE[1:], both, *NORMED, f"trainer.devices={devices}")
        artifacts = artifacts_of(project, overrides)
        make_target(artifacts)
        for contender, changes in RECIPES.items():
            recipe = Finetune(optimizer=OptimizerName.sgd, **{**values, **changes})  # type: ignore[arg-type]
            path = artifacts.stage_output("search", contender.name) / RECIPE
            write_chosen(path, Chosen(contender, recipe, int(recipe.depth), None, None))
        if devices == 1:
            alone(finetune, artifacts, overrides)
        else:
            finish(start(project, command(project, "finetune", overrides)))
        results.append([finetuned(artifacts, contender) for contender in RECIPES])
    for first, second in zip(*results, strict=True):
        assert_same_training(first, second)


def finetuned(artifacts: Artifacts, contender: Contender) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    folder = artifacts.stage_output("finetune", contender.name)
    weights = [load_file(path) for path in sorted((folder / "weights").iterdir())]
    together = {f"{index}.{name}": each for index, of in enumerate(weights) for name, each in of.items()}
    return pd.read_csv(folder / HISTORY), together


def make_target(artifacts: Artifacts) -> None:
    """What fine-tuning reads besides recipes: 17 pictures of two unequal classes, and a network."""
    pictures, labels = toy_pictures(12, seed=3)
    rows = [*range(17), *range(17, 24)]
    splits = ["train"] * 17 + ["val"] * 7
    # "down" loses most of its training pictures to "across" pictures
    order = sorted(range(24), key=lambda row: (labels[row] == "down" and row > 6, row))
    manifest = pd.DataFrame(
        {
            "path": [f"{row}.png" for row in rows],
            "label": [labels[row] for row in order],
            "split": splits,
            "group": "",
            "content_hash": "",
            "width": 16,
            "height": 16,
        }
    )
    write_store(artifacts.data_output("target"), pictures[order], manifest, ("across", "down"), TRANSFORM)
    network = build("tests_networks.Small", 2, seed=1, dropout=0.0)
    options = {"dropout": 0.0}
    card = ModelCard("tests_networks.Small", options, ("across", "down"), TRANSFORM, "random", "0" * 64)
    folder = artifacts.stage_output("replace_head")
    save_model(folder / MODEL, folder / CARD, network, card)


LONG = (*BASE, *NORMED, "pretrain.epochs=20", "trainer.devices=2")


def wait_for_a_checkpoint(project: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 200
    while not list(project.glob("scratch/checkpoints/*/last.ckpt")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes that train, in the order of their ranks; not what one of them starts for a moment."""
    below = psutil.Process(process.pid).children(recursive=True)
    ranks: dict[str, psutil.Process] = {}
    for each in sorted(below, key=psutil.Process.create_time):
        with suppress(psutil.NoSuchProcess):  # it ended since it was listed
            if (rank := each.environ().get("RANK")) is not None:
                ranks.setdefault(rank, each)
    return [ranks[rank] for rank in sorted(ranks)]


@pytest.fixture
def interrupted(project: Path) -> Iterator[subprocess.Popen[str]]:
    """A pretraining by two processes that has finished at least one epoch."""
    artifacts_of(project, LONG)
    process = start(project, command(project, "pretrain", LONG))
    wait_for_a_checkpoint(project, process)
    yield process
    if process.poll() is None:
        process.kill()


def assert_goes_on(project: Path) -> None:
    """The next call goes on after the last finished epoch, to what an undisturbed one comes to."""
    artifacts = artifacts_of(project, LONG)
    said = finish(start(project, command(project, "pretrain", LONG)))
    assert "pretrain: epoch 1," not in said
    assert "pretrain: epoch 20," in said
    resumed = pretrained(artifacts)
    shutil.rmtree(artifacts.stage_output("pretrain"))
    undisturbed = pretrained(run(project, "pretrain", *LONG))
    pd.testing.assert_frame_equal(resumed[0][COLUMNS], undisturbed[0][COLUMNS], check_exact=True)
    for name, tensor in undisturbed[1].items():
        np.testing.assert_array_equal(resumed[1][name], tensor)


def test_when_the_one_that_writes_is_killed_all_end_and_the_next_call_goes_on(
    interrupted: subprocess.Popen[str], project: Path
) -> None:
    all_of_them = children(interrupted)
    assert len(all_of_them) == 2
    all_of_them[0].kill()  # the one that writes
    said = finish(interrupted, 1)
    assert "process 0 of those that train together was killed by SIGKILL" in said
    assert "run the same command again to go on" in said
    assert "Traceback" not in said
    assert not psutil.wait_procs(all_of_them, timeout=10)[1]
    assert_goes_on(project)


def test_ctrl_c_ends_all_with_one_message(interrupted: subprocess.Popen[str]) -> None:
    all_of_them = children(interrupted)
    interrupted.send_signal(signal.SIGINT)
    said = finish(interrupted, 130)
    assert said.count("stage pretrain interrupted; run the same command again to go on") == 1
    assert "Traceback" not in said
    assert "death signal" not in said
    assert not psutil.wait_procs(all_of_them, timeout=10)[1]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
def test_when_the_stage_itself_is_killed_nothing_goes_on(interrupted: subprocess.Popen[str]) -> None:
    all_of_them = children(interrupted)
    interrupted.kill()
    interrupted.communicate()
    assert not psutil.wait_procs(all_of_them, timeout=10)[1]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
def test_when_the_stage_is_killed_while_they_start_nothing_goes_on(project: Path) -> None:
    artifacts_of(project, LONG)
    process = start(project, command(project, "pretrain", LONG))
    deadline = time.monotonic() + 200
    while len(all_of_them := children(process)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=60)
    # before its first epoch, which is when they end that do not notice
    assert not psutil.wait_procs(all_of_them, timeout=60)[1]
    assert not list(project.glob("scratch/checkpoints/*/last.ckpt"))


def test_a_mistake_is_said_once(project: Path) -> None:
    overrides = (*BASE, *PLAIN, "pretrain.learning_rate=1e30", "trainer.devices=2")
    artifacts_of(project, overrides)
    said = finish(start(project, command(project, "pretrain", overrides)), 1)
    assert said.count("error in stage pretrain: the training loss became") == 1
    assert "Traceback" not in said


def test_the_failure_of_one_process_is_shown_and_not_what_follows_from_it(project: Path) -> None:
    (project / "failing.py").write_text(
        "import os\n"
        "from tests_networks import Plain\n"
        "class Failing(Plain):\n"
        "    def forward(self, x):\n"
        "        if self.training and os.environ['RANK'] == '1':\n"
        "            raise ArithmeticError('out of luck')\n"
        "        return super().forward(x)\n"
    )
    overrides = (*BASE, "model.architecture=failing.Failing", "trainer.devices=2")
    artifacts_of(project, overrides)
    said = finish(start(project, command(project, "pretrain", overrides)), 1)
    assert "ArithmeticError: out of luck" in said
    assert said.count("Traceback") == 1
