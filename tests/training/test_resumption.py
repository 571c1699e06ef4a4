"""What an unfinished training leaves."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from thawline.training.resumption import save


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
@pytest.mark.parametrize("size", [1, 100_000])
def test_a_full_disk_is_named_when_a_checkpoint_is_written(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def full(_: Path) -> Iterator[Path]:
        yield Path("/dev/full")

    monkeypatch.setattr("thawline.training.resumption.atomic_path", full)
    with pytest.raises(OSError, match="No space left") as raised:
        save(Path("last.ckpt"), {"network": torch.zeros(size)})
    assert raised.value.errno == errno.ENOSPC
