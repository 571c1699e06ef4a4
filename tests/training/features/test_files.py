"""Stored features: whole or absent, whoever is killed when."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from thawline.artifacts import exclusive
from thawline.config.errors import UserError
from thawline.training.features import files
from thawline.training.features.files import as_numpy, evict, find, make

LIMIT = 2**20


def rows(count: int = 10, width: int = 4) -> torch.Tensor:
    return torch.arange(count * width, dtype=torch.float32).reshape(count, width)


def write(folder: Path, address: str, tensor: torch.Tensor, limit: int = LIMIT) -> files.Features:
    return make(folder, address, len(tensor), lambda: tensor.split(3), limit=limit)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_what_is_found_is_what_was_made(dtype: torch.dtype, tmp_path: Path) -> None:
    tensor = rows().to(dtype)
    made = write(tmp_path, "a", tensor)
    found = find(tmp_path, "a")
    assert found is not None
    assert isinstance(found.array, np.memmap)
    indices = np.array([7, 0, 3])
    for each in (made, found):
        assert each.dtype == dtype
        assert torch.equal(each.rows(np.arange(10)), tensor)
        assert torch.equal(each.rows(indices), tensor[indices])
        assert each.rows(np.arange(0)).shape == (0, 4)


def test_rows_may_be_written_to_and_nothing_stored_changes(tmp_path: Path) -> None:
    made = write(tmp_path, "a", rows())
    made.rows(np.arange(10)).fill_(-1)
    made.rows(np.array([1, 5])).fill_(-1)
    assert torch.equal(made.rows(np.arange(10)), rows())


def test_nothing_is_made_twice(tmp_path: Path) -> None:
    calls: list[int] = []

    def compute() -> tuple[torch.Tensor, ...]:
        calls.append(1)
        return rows().split(4)

    def ask(_: int) -> files.Features:
        return make(tmp_path, "a", 10, compute, limit=LIMIT)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ask, range(8)))
    assert len(calls) == 1
    assert all(np.array_equal(each.array, rows()) for each in found)


@pytest.mark.parametrize("damage", ["bytes", "length", "card", "format", "missing"])
def test_a_damaged_entry_is_made_again(damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "a", rows())
    path, card = tmp_path / "a" / "features.npy", tmp_path / "a" / "card.json"
    content = bytearray(path.read_bytes())
    if damage == "bytes":
        content[-1] ^= 1
        path.write_bytes(content)
    elif damage == "length":
        path.write_bytes(content[:-5])
    elif damage == "missing":
        path.unlink()
    else:
        card.write_text("{" if damage == "card" else card.read_text().replace('"format": 1', '"format": 0'))
    assert find(tmp_path, "a") is None
    assert ("computed again" in caplog.text) == (damage != "missing")
    assert torch.equal(write(tmp_path, "a", rows()).rows(np.arange(10)), rows())


def test_a_failure_in_between_leaves_nothing(tmp_path: Path) -> None:
    def broken():
        yield rows()[:4]
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError):
        make(tmp_path, "a", 10, broken, limit=LIMIT)
    assert find(tmp_path, "a") is None
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".npy", ".partial")]


KILLED = """
import os, signal, sys, torch
from pathlib import Path
from thawline.training.features.files import make
def compute():
    yield torch.zeros(4, 4)
    os.kill(os.getpid(), signal.SIGKILL)
make(Path(sys.argv[1]), "a", 10, compute, limit=2**20)
"""


@pytest.mark.slow
def test_a_killed_process_leaves_nothing_that_is_taken_for_features(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=environment, check=False)
    assert done.returncode == -9
    assert list((tmp_path / "a").iterdir())
    assert find(tmp_path, "a") is None
    assert torch.equal(write(tmp_path, "a", rows()).rows(np.arange(10)), rows())
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"features.npy", "card.json"}


def test_the_least_recently_used_make_room(tmp_path: Path) -> None:
    for number, address in enumerate("abc"):
        write(tmp_path, address, rows(100))
        os.utime(tmp_path / address / "card.json", (number, number))
    assert find(tmp_path, "a") is not None  # used again
    size = sum(path.stat().st_size for path in (tmp_path / "a").iterdir())
    evict(tmp_path, 2 * size)
    assert {path.parent.name for path in tmp_path.glob("*/card.json")} == {"a", "c"}
    write(tmp_path, "d", rows(100), limit=2 * size)
    assert {path.parent.name for path in tmp_path.glob("*/card.json")} == {"a", "d"}


def test_what_killed_processes_left_makes_room_and_what_is_being_made_does_not(tmp_path: Path) -> None:
    write(tmp_path, "kept", rows())
    for address in ("left", "made"):
        (tmp_path / address).mkdir()
        (tmp_path / address / ".features.npy.1.partial").write_bytes(bytes(100))
    with exclusive(tmp_path / "made.lock"):
        evict(tmp_path, LIMIT)
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"kept", "made"}
    assert find(tmp_path, "kept") is not None


def test_workers_that_crowd_each_other_out_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is room for one entry at a time. Threads stand for the processes that workers are: two of them
    that parse the header of an array at once are more than Python 3.11 can bear, now and then."""
    load, alone = np.load, threading.Lock()

    def one_at_a_time(*given: object, **more: object) -> object:
        with alone:
            return load(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(np, "load", one_at_a_time)

    def ask(number: int) -> bool:
        tensor = rows(50) + number % 5
        limit = tensor.numel() * 4 + 500
        made = make(tmp_path, f"{number % 5}", 50, lambda: tensor.split(7), limit=limit)
        return torch.equal(made.rows(np.arange(50)), tensor)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(60)))


def test_what_is_open_survives_its_removal(tmp_path: Path) -> None:
    made = write(tmp_path, "a", rows())
    evict(tmp_path, 0)
    assert find(tmp_path, "a") is None
    assert torch.equal(made.rows(np.arange(10)), rows())


def test_more_than_all_that_is_allowed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"160 bytes of features, but trainer\.prefix_cache_gib allows 100"):
        write(tmp_path, "a", rows(), limit=100)


def test_too_few_rows_are_a_defect(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="8 rows of features for 10 pictures"):
        make(tmp_path, "a", 10, lambda: rows(8).split(4), limit=LIMIT)


def test_numpy_holds_the_bits_of_what_it_does_not_know() -> None:
    tensor = torch.tensor([1.5, -2.0]).to(torch.bfloat16)
    assert torch.equal(torch.from_numpy(as_numpy(tensor)).view(torch.bfloat16), tensor)
