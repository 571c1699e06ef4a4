"""The commands of the README and of the page it sends to next, as the tests run them: in a clone, in bash, on
a small configuration."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable
from pathlib import Path

import psutil
from tests_clone import ROOT, Clone

PAGES = ("README.md", "docs/using.md")
"""Pages whose shell blocks (those marked sh) are run, in this order."""

SMALL = {
    "glyphs_per_class: 320": "glyphs_per_class: 2",
    "  size: 32": "  size: 16",
    "epochs: 30": "epochs: 1",
    "epochs: 3\n": "epochs: 1\n",
    "trials: 15": "trials: 2",
    "trials_per_depth: 6": "trials_per_depth: 1",
    "seeds_per_depth: 5": "seeds_per_depth: 1",
    # a worker takes longer to start than these trials; two are told from one elsewhere
    "workers: 2": "workers: 1",
    "seeds: 3": "seeds: 1",
    "validation: auto": "validation: holdout",
    "[finetuned, linear_probe, from_scratch]": "[finetuned, linear_probe]",
    "resamples: 2000": "resamples: 20",
}
"""What conf/ says, and what it says in the test."""

SHORT = {
    # what comes after a new head does not ask where the network is from
    "\"target.root='$HOME/leaves'\"": "\"target.root='$HOME/leaves'\" replace_head",
    "search=depth_curve": "search=depth_curve -S search.space.depths=[0,9]",
    "--minutes 10": "--minutes 1",
    "search.trials=5": "search.trials=2",
    "finetune.depth=0,3,all": "finetune.depth=0,3",
}
"""What a command says, and what it says in the test."""

KILLED = {"make repro": ("search linear_probe", True), "thawline fit": ("stage 5 of 15", False)}
"""Commands that are killed, each when it has said these words, alone or with all it started, and then given
again."""

LAST = ("-S", "search=off", "-S", "finetune=frozen", "-S", "finetune.depth=3")
"""The settings of the last experiment, from which the tests go on."""

MINUTES = 60


def shrink(clone: Clone) -> None:
    """Make the clone's configuration small enough for a test."""
    for path in (clone.root / "conf").rglob("*.yaml"):
        text = path.read_text()
        for large, small in SMALL.items():
            text = text.replace(large, small)
        path.write_text(text)
    clone.run("python", "-m", "thawline.config", "--write")
    clone.run("git", "commit", "-qam", "small")


def commands() -> list[str]:
    """List the lines of the pages' shell blocks without their comments."""
    blocks = [
        block for page in PAGES for block in re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(), re.S)
    ]
    lines = [
        line.partition("   #")[0].partition("    #")[0].strip()
        for block in blocks
        for line in block.splitlines()
    ]
    return [line for line in lines if line]


def about_photographs(command: str) -> bool:
    """Tell the commands for one's own photographs from those on the embedded pictures: neither needs what the
    others made."""
    return command == "make setup" or "leaves" in command


def shortened(command: str) -> str:
    """Return what the test says where `command` is written."""
    for long, quick in SHORT.items():
        command = command.replace(long, quick)
    return command


ACTIVATE = "source .venv/bin/activate"


def run(clone: Clone, command: str) -> str:
    """Say what a command says in bash, with the environment activated."""
    return clone.run("bash", "-ec", f"{ACTIVATE}; {command}")


def run_all(clone: Clone, chosen: Iterable[str]) -> dict[str, str]:
    """Run commands in order; return what each said, by the command as it is written, and what was said until
    one was killed as `killed`."""
    answers = dict[str, str]()
    for command in chosen:
        started, short = time.monotonic(), shortened(command)
        for begin, (words, all_of_it) in KILLED.items():
            if command.startswith(begin):
                answers["killed"] = killed_when(clone, short, words, all_of_it=all_of_it)
        answers[command] = serve_and_ask(clone, short) if short.startswith("mlflow ui") else run(clone, short)
        sys.stdout.write(f"{time.monotonic() - started:.0f} s: {command}\n")
    return answers


def only(said: dict[str, str], *words: str) -> str:
    """Return what the one command that holds all `words` said."""
    (answer,) = [text for command, text in said.items() if all(word in command for word in words)]
    return answer


def lend_this_environment(clone: Clone) -> None:
    """Make a complete .venv of the one that runs this test. That `make` makes one from nothing is
    shown by `test_setup.py` and wherever this project's tests begin in a fresh clone."""
    own = clone.root / ".venv"
    own.mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (own / name).symlink_to(Path(sys.prefix) / name)
    script = "import sys; sys.path.insert(0, 'tools'); import setup; setup.write_stamp('complete')"
    clone.run("python", "-c", script)


def publish_weights(clone: Clone) -> None:
    """Put random weights where torchvision keeps what it downloaded: there is no network in a test."""
    script = (
        "import torch, torchvision, pathlib; from torchvision.models import ResNet18_Weights as W;"
        "p = pathlib.Path(torch.hub.get_dir()) / 'checkpoints'; p.mkdir(parents=True);"
        "torch.save(torchvision.models.resnet18().state_dict(), p / W.DEFAULT.url.rpartition('/')[2])"
    )
    clone.run("python", "-c", script)


def serve_and_ask(clone: Clone, command: str) -> str:
    """Start a server as the README says, on a free port, and return its first page."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        ["bash", "-c", f"{ACTIVATE}; exec {command} --port {port} --workers 1"],
        cwd=clone.root,
        # which starts seven processes more, for what is not asked here
        env={**clone.environment(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 2 * MINUTES
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
                    assert answer.status == 200
                    return str(answer.read(), "utf-8")
            except OSError:
                assert time.monotonic() < deadline, "the server did not answer"
                time.sleep(1)
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)


def killed_when(clone: Clone, command: str, words: str, *, all_of_it: bool) -> str:
    """Start a command and kill -9 it, alone or with all it started, when it has said `words`; return what it
    said until then, and what its children said who had lost it."""
    said = ""
    with subprocess.Popen(
        ["bash", "-ec", f"{ACTIVATE}; exec {command}"],
        cwd=clone.root,
        env=clone.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said += line
            if words in line:
                started = psutil.Process(process.pid).children(recursive=True)
                os.killpg(process.pid, signal.SIGKILL) if all_of_it else process.kill()
                # DVC takes a process that nobody has reaped yet for a living one, and says that it is busy
                _, left = psutil.wait_procs(started if all_of_it else [], timeout=MINUTES)
                assert not left
    assert words in said
    return said


def status_with_a_new_picture(clone: Clone) -> str:
    """What DVC would run if there were another picture of the target."""
    new = clone.home / "leaves" / "down" / "new.png"
    shutil.copy(clone.home / "leaves" / "across" / "0.png", new)
    status = clone.run("dvc", "status")
    new.unlink()
    return status
