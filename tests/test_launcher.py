"""Starting processes that train together, and what is said when they end."""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from thawline.config.errors import UserError
from thawline.config.sections import Trainer
from thawline.launcher import REPORT, _reason, launch, report_failure

ROOT = Path(__file__).resolve().parents[1]
TOLD = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0"}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    environment = {**kept, "PYTHONPATH": "src", **environment}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_several_machines_need_torchrun_on_each() -> None:
    with pytest.raises(UserError, match="torchrun --nnodes=3 --nproc-per-node=2 .* x.py seed=1"):
        launch(Trainer(nodes=3, devices=2), ["x.py", "seed=1"])


@pytest.fixture
def torchrun(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The environment in which torchrun would start processes, filled when it is asked to."""
    found: dict[str, str] = {}
    monkeypatch.setattr(
        "torch.distributed.launcher.api.elastic_launch", lambda *_: lambda *_: found.update(os.environ)
    )
    log, kept = logging.getLogger("torch.distributed"), dict(os.environ)
    handlers, propagates = list(log.handlers), log.propagate
    yield found
    log.handlers[:], log.propagate = handlers, propagates
    os.environ.clear()
    os.environ.update(kept)


def test_processes_are_told_who_starts_them(torchrun: dict[str, str]) -> None:
    launch(Trainer(devices=2), ["x.py"])
    assert torchrun["THAWLINE_LAUNCHER"] == str(os.getpid())


def test_what_torchrun_logs_goes_nowhere(
    torchrun: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    log = logging.getLogger("torch.distributed")
    log.addHandler(logging.StreamHandler(sys.stderr))
    launch(Trainer(devices=2), ["x.py"])
    assert torchrun
    logging.getLogger("torch.distributed.elastic.agent").warning("Received 2 death signal")
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
def test_a_process_whose_launcher_has_died_ends_at_once() -> None:
    code = "from thawline.launcher import end_with_parent; end_with_parent(); print('goes on')"
    orphan, child, alone = run("-c", code, THAWLINE_LAUNCHER="1"), run("-c", code, **ours()), run("-c", code)
    assert (orphan.returncode, orphan.stdout, orphan.stderr) == (1, "", "")
    assert child.stdout == alone.stdout == "goes on\n"


def ours() -> dict[str, str]:
    """What this process tells those that it starts."""
    return {"THAWLINE_LAUNCHER": str(os.getpid())}


@pytest.mark.slow
def test_a_stage_that_one_process_runs_refuses_to_be_several() -> None:
    done = run("pipelines/search.py", **TOLD)
    assert done.returncode == 1
    assert "stage search runs in one process, but torchrun started 2" in done.stderr
    assert "search.workers" in done.stderr


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # noqa: ANN201
    """Makes the failure of a process that left `text`, or nothing."""

    def make(rank: int, code: int, text: str | None = None, *, expected: bool = False) -> ProcessFailure:
        path = tmp_path / f"{rank}.json"
        if text is not None:
            monkeypatch.setenv(REPORT, str(path))
            report_failure(text, expected=expected)
        return ProcessFailure(rank, 1000 + rank, code, str(path))

    return make


def test_what_the_first_to_fail_said_is_the_reason(left) -> None:  # noqa: ANN001
    failures = {1: left(1, 1, "the first"), 0: left(0, 1, "the second")}
    assert _reason(failures) == "the first"


def test_a_mistake_explains_more_than_what_followed(left) -> None:  # noqa: ANN001
    failures = {0: left(0, 1, "connection lost"), 1: left(1, 1, "depth = 9 is too deep", expected=True)}
    assert _reason(failures) == "depth = 9 is too deep"


def test_a_killed_process_is_named_and_what_followed_is_quoted(left) -> None:  # noqa: ANN001
    lost = "Traceback ...\nRuntimeError: connection closed\n"
    failures = {0: left(0, 1, lost), 1: left(1, -signal.SIGKILL), 2: left(2, -signal.SIGTERM)}
    reason = _reason(failures)
    assert reason.startswith("process 1 of those that train together was killed by SIGKILL")
    assert "process 0 then said: RuntimeError: connection closed" in reason
    assert "run the same command again" in reason


def test_being_ended_with_the_others_is_no_reason(left) -> None:  # noqa: ANN001
    assert _reason({0: left(0, -signal.SIGTERM), 1: left(1, 1, "the reason")}) == "the reason"


def test_a_process_that_ends_without_a_word_is_named(left) -> None:  # noqa: ANN001
    assert "process 1 of those that train together ended (7)" in _reason({1: left(1, 7)})


def test_what_is_left_is_what_torchrun_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REPORT, str(tmp_path / "error.json"))
    report_failure("why", expected=True)
    assert json.loads((tmp_path / "error.json").read_text())["message"]["message"] == "why"


def test_without_anyone_to_tell_it_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(REPORT, raising=False)
    report_failure("why", expected=True)
    assert capsys.readouterr().err == "why\n"
