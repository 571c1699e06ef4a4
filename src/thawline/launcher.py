"""Starting the processes that train one network together, and ending them together.

torchrun's agent runs in the process of the stage itself: it starts the same command once per device, ends
all when one of them fails, and says why, once. Nothing is restarted in place: the next call of the stage
goes on from the checkpoint.
"""

import ctypes
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thawline.config.errors import UserError
from thawline.config.sections import Trainer
from thawline.machine import cores

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

REPORT = "TORCHELASTIC_ERROR_FILE"
"""Where torchrun tells each process to leave the reason of its failure."""

_LAUNCHER = "THAWLINE_LAUNCHER"
"""Where each process finds the number of the one that starts them."""

_DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of prctl(2)."""


class FailedTogetherError(Exception):
    """One of several processes failed, and all were ended. The text is for people as it is."""


def launch(settings: Trainer, command: Sequence[str]) -> None:
    """Run `command` (a script and its arguments) once per device of this machine, until all are done.

    Raises:
        UserError: several machines are wanted: torchrun has to be started on each.
        FailedTogetherError: one of the processes failed.
        KeyboardInterrupt: Ctrl-C, or another signal to end; the processes have ended, too.
    """
    if settings.nodes > 1:
        raise UserError(_on_every_machine(settings, command))
    quiet_torch()
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    _silence_torchrun()
    os.environ.setdefault("OMP_NUM_THREADS", str(settings.threads or max(1, cores() // settings.devices)))
    os.environ[_LAUNCHER] = str(os.getpid())
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=settings.devices,
        run_id=str(os.getpid()),
        rdzv_backend="c10d",
        # a free port; by number, because not every container can look its own name up
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        max_restarts=0,
    )
    try:
        elastic_launch(config, sys.executable)("-u", *command)
    except ChildFailedError as error:
        raise FailedTogetherError(_reason(error.failures)) from None
    except SignalException:
        raise KeyboardInterrupt from None


def _on_every_machine(settings: Trainer, command: Sequence[str]) -> str:
    """Say which command starts the processes of several machines."""
    start = (
        f"torchrun --nnodes={settings.nodes} --nproc-per-node={settings.devices} --rdzv-backend=c10d "
        "--rdzv-endpoint=FIRST:29500 --max-restarts=0"
    )
    return (
        f"trainer.nodes = {settings.nodes}, but this process was not started by torchrun.\n"
        "  run on every machine, in one shared folder, with FIRST the name of one of them:\n"
        f"  env PYTHONPATH=src {start} {' '.join(command)}"
    )


def quiet_torch() -> None:
    """Silence the warnings of PyTorch's C++ in this process and those it starts; before torch is imported.

    They are of its own searches for addresses and unused weights, which people cannot act on.
    """
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


def _silence_torchrun() -> None:
    """Let torchrun's log go: what it knows is said once, at the end."""
    log = logging.getLogger("torch.distributed")
    log.propagate = False
    # PyTorch gives it a handler of its own
    log.handlers[:] = [logging.NullHandler()]


def _reason(failures: Mapping[int, "ProcessFailure"]) -> str:
    """Choose what to tell people: of several reasons the one that explains the others.

    Where a process was killed, the others have only lost it; SIGTERM is how torchrun ends those others.
    """
    left = {rank: _reported(each) for rank, each in failures.items() if _reported(each)}
    first = min(left, key=lambda rank: (not left[rank]["expected"], left[rank]["time"]), default=None)
    silent = [rank for rank in sorted(failures) if rank not in left]
    killed = [rank for rank in silent if failures[rank].exitcode not in (-signal.SIGTERM, 1)]
    if first is not None and (left[first]["expected"] or not killed):
        return str(left[first]["text"])
    rank = (killed or silent)[0]
    failure = failures[rank]
    how = f"was killed by {failure.signal_name()}" if failure.exitcode < 0 else f"ended ({failure.exitcode})"
    lines = [f"process {rank} of those that train together {how}, so all were ended"]
    if first is not None:
        lines.append(f"process {first} then said: {left[first]['text'].strip().splitlines()[-1]}")
    return "\n  ".join([*lines, "run the same command again to go on"])


def _reported(failure: "ProcessFailure") -> dict[str, Any]:
    """Return what a process left by `report_failure`; empty where it left nothing."""
    message = failure.error_file_data.get("message")
    found: dict[str, Any] = message.get("extraInfo", {}) if isinstance(message, dict) else {}
    return found if "text" in found else {}


def report_failure(text: str, *, expected: bool) -> None:
    """Leave to who started this process why it ends.

    expected: a mistake that the text explains; else something that may follow from another's failure.
    """
    path = os.environ.get(REPORT)
    if path is None:
        sys.stderr.write(f"{text}\n")
        return
    now = time.time()
    extra = {"timestamp": str(int(now)), "time": now, "text": text, "expected": expected}
    Path(path).write_text(json.dumps({"message": {"message": text, "extraInfo": extra}}), encoding="utf-8")


def end_child_with_us() -> None:
    """Have a process that this one starts killed when this one dies (Linux); called in the child."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)


def end_with_parent() -> None:
    """Have this process killed when the one that started it dies (Linux): it would go on alone.

    Raises `SystemExit` where `launch` started this process and its own has died already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        # of a death before that call nothing tells but another parent
        parent = str(os.getppid())
        if os.environ.get(_LAUNCHER, parent) != parent:
            sys.exit(1)
