"""What a process is told of the others."""

import subprocess
import sys
from pathlib import Path

import pytest

from thawline import machine
from thawline.progress import progress

TOLD = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "1"}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TOLD.items():
        monkeypatch.setenv(name, value)


def test_a_process_alone_leads() -> None:
    assert not machine.by_torchrun()
    assert (machine.rank(), machine.world_size(), machine.leads()) == (0, 1, True)
    assert machine.cores_each() == machine.cores() >= 1


def test_one_of_several_knows_its_place(told: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.by_torchrun()
    assert (machine.rank(), machine.world_size(), machine.leads()) == (3, 4, False)
    assert (machine.local_rank(), machine.local_world_size()) == (1, 2)
    monkeypatch.setenv("RANK", "0")
    assert machine.leads()


@pytest.mark.parametrize(("cores", "each"), [(8, 4), (3, 1), (1, 1)])
def test_processes_of_one_machine_share_its_cores(
    cores: int, each: int, told: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "cores", lambda: cores)
    assert machine.cores_each() == each


def test_another_launchers_rank_means_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    assert machine.leads()


def test_only_one_of_several_shows_progress(told: None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with progress("work", 2) as advance:
        advance(2, "done")
    assert not caplog.records


FREED = """
import resource
from thawline.machine import keep_freed_memory, return_freed_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

def faults_of(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        block = bytearray(36 * 2**20)
        del block
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

usual = faults_of(3)
keep_freed_memory()
faults_of(1)
kept, size = faults_of(3), resident()
return_freed_memory()
raise SystemExit(not (kept * 100 < usual and resident() < size - 32 * 2**20))
"""


@pytest.mark.skipif(machine._c_library() is None, reason="glibc alone keeps memory when told to")
def test_freed_memory_is_kept_until_it_is_given_back() -> None:
    run = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


class Refusing:
    """A C library that allows neither size."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def mallopt(self, option: int, value: int) -> int:  # noqa: ARG002
        self.asked.append(option)
        return 0


def test_where_large_blocks_cannot_be_kept_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Refusing()
    monkeypatch.setattr(machine, "_c_library", lambda: library)
    machine.keep_freed_memory()
    assert library.asked == [machine._MMAP_THRESHOLD] * 2


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_c_library", lambda: None)
    machine.keep_freed_memory()
    machine.return_freed_memory()


LOADS = """
import gc, weakref
from thawline.machine import loading

class Cycle:
    def __init__(self):
        self.itself = self

with loading():
    with loading():
        pass
    kept = weakref.ref(Cycle())
for _ in range(2):
    with loading():
        computed = weakref.ref(Cycle())
gc.collect()
print(kept() is None, computed() is None, gc.isenabled())
"""


def test_only_what_was_made_by_the_first_imports_is_left_out_of_the_search_for_garbage() -> None:
    done = subprocess.run([sys.executable, "-c", LOADS], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "True"]


@pytest.mark.slow
@pytest.mark.parametrize(("asked", "threads"), [(None, 1), ("2", 2)])
def test_numpy_has_one_thread_unless_somebody_wants_more(
    asked: str | None, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    if asked:
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", asked)
    begin = (
        "import sys, thawline.serving.cli, thawline.stage\nassert 'numpy' not in sys.modules, 'too late'\n"
    )
    rest = "thawline.stage.machine.start_threads_sparingly()\nimport numpy, threadpoolctl\n"
    show = "print(*(each['num_threads'] for each in threadpoolctl.threadpool_info()))"
    found = subprocess.run([sys.executable, "-c", begin + rest + show], capture_output=True, text=True)
    assert (found.stdout.split(), found.stderr) == ([str(min(threads, machine.cores()))], "")


PROGRAM = """
import atexit, sys
from thawline.machine import ending_at_once

class Held:
    def __del__(self):
        print("taken apart", flush=True)

held = Held()
with ending_at_once({program!r}):
    atexit.register(print, "registered")
    sys.stdout.write("written and ")
    {last}
"""


@pytest.mark.parametrize(
    ("program", "last", "status", "at_the_end"),
    [
        ("script", "pass", 0, ["written and registered"]),
        ("script", "sys.exit(3)", 3, ["written and registered"]),
        ("script", "sys.exit('error: no')", 1, ["written and registered", "taken apart"]),
        ("script", "1 / 0", 1, ["written and registered", "taken apart"]),
        ("pytest", "pass", 0, ["written and registered", "taken apart"]),
    ],
    ids=["done", "status", "message", "traceback", "part of another program"],
)
def test_a_program_that_is_done_ends_at_once_but_for_what_is_registered_to_run_at_the_end(
    tmp_path: Path, program: str, last: str, status: int, at_the_end: list[str]
) -> None:
    (script := tmp_path / "script.py").write_text(PROGRAM.format(program=program, last=last))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()) == (status, at_the_end)
