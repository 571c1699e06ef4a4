"""Every command of the README, and of the page it sends to next, does what it says, in a clone, on toy
pictures; and what DVC then runs again.

The commands run once, in order, and the tests of this file look at what each said and left; the last ones
change something more.
"""

import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest
import yaml
from tests_clone import ROOT, Clone, save_pictures, stages_in

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
    # a search over a network of this size is shown elsewhere
    "model.architecture=resnet18": "model.architecture=resnet18 -S input.size=64 -S search=off",
    "search=depth_curve": "search=depth_curve -S search.space.depths=[0,9]",
    "--minutes 10": "--minutes 1",
    "search.trials=5": "search.trials=2",
}
"""What a command says, and what it says in the test."""

LAST = ("-S", "search=off", "-S", "finetune=frozen", "-S", "finetune.depth=3")
"""The settings of the last experiment, from which the tests go on."""

MINUTES = 60


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


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone whose configuration is small enough for a test, with the pictures the README speaks of."""
    made = Clone(tmp_path_factory.mktemp("readme"))
    for path in (made.root / "conf").rglob("*.yaml"):
        text = path.read_text()
        for large, small in SMALL.items():
            text = text.replace(large, small)
        path.write_text(text)
    made.run("python", "-m", "thawline.config", "--write")
    made.run("git", "commit", "-qam", "small")
    save_pictures(made.home / "leaves", 20, 0)
    shutil.copytree(made.home / "leaves" / "down", made.root / "more-leaves")
    shutil.copy(made.home / "leaves" / "across" / "0.png", made.root / "leaf.jpg")
    return made


ACTIVATE = "source .venv/bin/activate"


def run(clone: Clone, command: str) -> str:
    """Say what a command says in bash, with the environment activated."""
    return clone.run("bash", "-ec", f"{ACTIVATE}; {command}")


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


def serve_and_ask(clone: Clone, command: str) -> None:
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


@pytest.fixture(scope="module")
def said(clone: Clone) -> dict[str, str]:
    """Run all commands; what each said, by the command as it is written there."""
    lend_this_environment(clone)
    publish_weights(clone)
    written, answers = commands(), dict[str, str]()
    assert written[:2] == ["make repro", "make test"]
    for long in SHORT:
        assert sum(long in command for command in written) == 1
    for command in written:
        if command == "make test":
            continue  # this is make test
        short = command
        for long, quick in SHORT.items():
            short = short.replace(long, quick)
        started = time.monotonic()
        if command == "make repro":
            answers["lost"] = killed_when(clone, short, "search linear_probe", all_of_it=True)
        if command.startswith("thawline fit"):
            answers["killed"] = killed_when(clone, short, "stage 5 of 15")
        if command.startswith("mlflow ui"):
            serve_and_ask(clone, command)
        else:
            answers[command] = run(clone, short)
        sys.stdout.write(f"{time.monotonic() - started:.0f} s: {command}\n")
        if command.startswith("thawline predict"):
            answers["status"] = status_with_a_new_picture(clone)
    return answers


def killed_when(clone: Clone, command: str, words: str, *, all_of_it: bool = False) -> str:
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


def only(said: dict[str, str], *words: str) -> str:
    """What the one command that holds all `words` said."""
    (answer,) = [text for command, text in said.items() if all(word in command for word in words)]
    return answer


@pytest.mark.slow
@pytest.mark.timeout(60 * MINUTES)
def test_every_command_of_the_readme_works(clone: Clone, said: dict[str, str]) -> None:
    assert stages_in(said["lost"])[0] == "params"
    assert (clone.root / "reports/metrics.json").exists()
    assert stages_in(said["dvc repro"]) == []
    assert run(clone, "dvc repro | tail -n 1").strip() == "Data and pipelines are up to date."


@pytest.mark.slow
def test_a_killed_reproduction_goes_on_and_leaves_nothing_half_done(
    clone: Clone, said: dict[str, str]
) -> None:
    assert stages_in(said["make repro"])[0] == "search"
    assert not list((clone.root / "artifacts").rglob("*.partial"))
    with sqlite3.connect(clone.root / "mlflow.db") as database:
        assert database.execute("select count(*) from runs where status = 'RUNNING'").fetchone() == (0,)


@pytest.mark.slow
def test_only_evaluate_has_opened_the_test_split(clone: Clone, said: dict[str, str]) -> None:
    stages = yaml.safe_load((clone.root / "dvc.lock").read_text())["stages"]
    opened = {
        name
        for name, stage in stages.items()
        if any("artifacts/prepare/test" in dep["path"] for dep in stage["deps"])
    }
    assert opened == {"evaluate"}


@pytest.mark.slow
def test_a_changed_recipe_leaves_the_source_model_alone(said: dict[str, str]) -> None:
    ran = set(stages_in(only(said, "dvc exp run", "finetune=frozen")))
    assert not {"prepare_source", "prepare_target", "pretrain", "replace_head"} & ran
    assert {"search", "finetune", "evaluate", "report"} <= ran


@pytest.mark.slow
def test_a_fit_says_its_command_its_plan_and_its_answer(clone: Clone, said: dict[str, str]) -> None:
    answer = only(said, "thawline fit")
    assert answer.startswith("dvc exp run -S source=imagenet -S target=image_folder -S target.root=")
    # it goes on where it was killed
    assert "params" in stages_in(said["killed"])
    assert "params" not in stages_in(answer)
    for words in ("stage 9 of 15: plan", "a first model is ready", "plan for 1 minutes"):
        assert words in answer
    # so few pictures may all be right
    assert re.search(r"^accuracy   [01]\.\d{3} \(", answer, re.M)
    assert (clone.root / "fits/leaves/report/README.md").exists()
    assert len(only(said, "thawline predict").splitlines()) > 1


@pytest.mark.slow
def test_a_killed_fit_leaves_nobody_at_work_and_goes_on_with_the_time_it_has_used(
    said: dict[str, str],
) -> None:
    assert "stage 6 of 15" not in said["killed"]
    assert re.search(r"^goes on: [1-9]\d* s of its time were used before$", only(said, "thawline fit"), re.M)


@pytest.mark.slow
def test_a_stage_called_by_hand_sweeps_and_leaves_dvc_alone(said: dict[str, str]) -> None:
    assert only(said, "pipelines/search.py -m").count("written below scratch") == 3


@pytest.mark.slow
def test_dvc_shows_what_changed_in_params_metrics_and_plots(clone: Clone, said: dict[str, str]) -> None:
    assert "finetune.depth" in clone.run("dvc", "params", "diff")
    assert "finetuned.accuracy.mean" in clone.run("dvc", "metrics", "diff", "--all")
    page = clone.run("dvc", "plots", "show").strip().removeprefix("file://").replace("%20", " ")
    shown = Path(page).read_text()
    assert "Fine-tuning finetuned" in shown
    assert "Confusion" in shown


@pytest.mark.slow
def test_a_changed_report_reruns_only_the_report(clone: Clone, said: dict[str, str]) -> None:
    output = clone.run("dvc", "exp", "run", *LAST, "-S", "report.title=Toys")
    assert stages_in(output) == ["params", "report"]
    assert "Toys" in (clone.root / "reports/README.md").read_text()


@pytest.mark.slow
def test_a_wrong_experiment_is_refused_before_anything_runs(clone: Clone, said: dict[str, str]) -> None:
    for wrong, answer in (
        ("finetune.hed_lr=1", "nearest: finetune.head_lr"),
        ("finetune.epochs=0", "finetune.epochs = 0 is not allowed"),
    ):
        output = clone.run("dvc", "exp", "run", "-S", wrong, check=False)
        assert answer in output
        assert "Running stage" not in output


@pytest.mark.slow
def test_new_pictures_of_the_target_are_noticed(said: dict[str, str]) -> None:
    changed = {line.rstrip(":") for line in said["status"].splitlines() if line and not line[0].isspace()}
    assert changed == {"choose_source", "prepare_target"}


@pytest.mark.slow
def test_a_temporary_experiment_runs_its_own_code_and_knows_the_repository(
    clone: Clone, said: dict[str, str]
) -> None:
    clone.run("git", "add", "dvc.lock", "reports")
    clone.run("git", "commit", "-qam", "reproduced")
    code = clone.root / "src/thawline/report/report.py"
    told = '    config.report.title = f\'{__file__} for {__import__("os").environ["DVC_ROOT"]}\'\n'
    code.write_text(code.read_text().replace("    findings = ", f"{told}    findings = ", 1))
    output = clone.run("dvc", "exp", "run", "--temp", *LAST, "-S", "report.dpi=50")
    assert stages_in(output) == ["params", "code", "report"]
    newest = ("--sort=-committerdate", "--count=1", "--format=%(objectname)")
    experiment = clone.run("git", "for-each-ref", *newest, "refs/exps/*/*/*").strip()
    page = clone.run("git", "show", f"{experiment}:reports/README.md")
    file, root = page.partition("# ")[2].partition("\n")[0].split(" for ")
    assert Path(file).is_relative_to(clone.root / ".dvc" / "tmp")
    assert Path(root) == clone.root
