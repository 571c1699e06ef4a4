"""Every command of the README does what it says, in a clone, on toy pictures."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from test_pipeline import Checkout, save_pictures

ROOT = Path(__file__).resolve().parents[1]
SMALL = {
    "glyphs_per_class: 320": "glyphs_per_class: 2",
    "  size: 32": "  size: 16",
    "epochs: 30": "epochs: 1",
    "epochs: 3\n": "epochs: 1\n",
    "trials: 15": "trials: 2",
    "trials_per_depth: 6": "trials_per_depth: 1",
    "seeds_per_depth: 5": "seeds_per_depth: 1",
    "seeds: 3": "seeds: 1",
    "validation: auto": "validation: holdout",
    "resamples: 2000": "resamples: 20",
}
"""What conf/ says, and what it says in the test."""

SHORT = {
    "search=depth_curve": "search=depth_curve -S search.space.depths=[0,9]",
    "search.minutes=0.2": "search.minutes=0.05",
}
"""What a command of the README says, and what it says in the test."""

MINUTES = 60


def commands() -> list[str]:
    """The lines of the README's shell blocks without their comments."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    lines = [
        line.partition("   #")[0].partition("    #")[0].strip()
        for block in blocks
        for line in block.splitlines()
    ]
    return [line for line in lines if line]


def test_the_readme_names_only_what_exists() -> None:
    text = (ROOT / "README.md").read_text()
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / link).exists() or link.startswith("reports/"), link
    for preset in re.findall(r"^\| `(finetune|search)=(\w+)`", text, re.M):
        assert (ROOT / "conf" / preset[0] / f"{preset[1]}.yaml").exists()


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A clone whose configuration is small enough for a test, with the pictures the README speaks of."""
    checkout = Checkout(tmp_path_factory.mktemp("readme"))
    for path in (checkout.root / "conf").rglob("*.yaml"):
        text = path.read_text()
        for large, small in SMALL.items():
            text = text.replace(large, small)
        path.write_text(text)
    checkout.run("python", "-m", "thawline.config", "--write")
    checkout.run("git", "commit", "-qam", "small")
    save_pictures(checkout.home / "leaves", 20, 0)
    shutil.copytree(checkout.home / "leaves" / "down", checkout.root / "more-leaves")
    shutil.copy(checkout.home / "leaves" / "across" / "0.png", checkout.root / "leaf.jpg")
    return checkout


ACTIVATE = "source .venv/bin/activate"


def run(clone: Checkout, command: str) -> str:
    """One command of the README in bash, with the environment activated."""
    return clone.run("bash", "-ec", f"{ACTIVATE}; {command}")


def lend_this_environment(clone: Checkout) -> None:
    """A complete .venv made of the one that runs this test. That `make` makes one from nothing is
    shown by `test_setup.py` and wherever this project's tests begin in a fresh clone."""
    own = clone.root / ".venv"
    own.mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (own / name).symlink_to(Path(sys.prefix) / name)
    script = "import sys; sys.path.insert(0, 'tools'); import setup; setup.write_stamp('complete')"
    clone.run("python", "-c", script)


def publish_weights(clone: Checkout) -> None:
    """Random weights where torchvision keeps what it downloaded: there is no network in a test."""
    script = (
        "import torch, torchvision, pathlib; from torchvision.models import ResNet18_Weights as W;"
        "p = pathlib.Path(torch.hub.get_dir()) / 'checkpoints'; p.mkdir(parents=True);"
        "torch.save(torchvision.models.resnet18().state_dict(), p / W.DEFAULT.url.rpartition('/')[2])"
    )
    clone.run("python", "-c", script)


def serve_and_ask(clone: Checkout, command: str) -> None:
    """Start a server as the README says, on a free port, and fetch its first page."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        ["bash", "-c", f"{ACTIVATE}; exec {command} --port {port} --workers 1"],
        cwd=clone.root,
        env=clone.environment(),
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 2 * MINUTES
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
                    assert answer.status == 200
                return
            except OSError:
                assert time.monotonic() < deadline, "the server did not answer"
                time.sleep(1)
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)


@pytest.mark.slow
@pytest.mark.timeout(30 * MINUTES)
def test_every_command_of_the_readme_works(clone: Checkout) -> None:
    lend_this_environment(clone)
    publish_weights(clone)
    written = commands()
    assert written[:2] == ["make repro", "make test"]
    for long, short in SHORT.items():
        assert sum(long in command for command in written) == 1
        written = [command.replace(long, short) for command in written]
    for command in written:
        if command == "make test":
            continue  # this is make test
        started = time.monotonic()
        if command.startswith("mlflow ui"):
            serve_and_ask(clone, command)
        else:
            run(clone, command)
        sys.stdout.write(f"{time.monotonic() - started:.0f} s: {command}\n")
    assert (clone.root / "reports/metrics.json").exists()
    assert run(clone, "dvc repro | tail -n 1").strip() == "Data and pipelines are up to date."
