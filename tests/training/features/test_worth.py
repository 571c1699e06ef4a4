"""Whether to store is decided by what was measured, once."""

from pathlib import Path

import pytest
import torch

from thawline.training.features.worth import Speed, speed_of


def test_storing_pays_when_reading_is_twice_as_fast_for_long_enough() -> None:
    speed = Speed(compute=1.0, write=2.0, read=0.1, bytes=8)
    assert not speed.worth(1)
    assert not speed.worth(7)
    assert speed.worth(8)
    assert speed.seconds(8) == pytest.approx((8.0, 3.8))


def test_what_is_read_no_faster_than_computed_is_never_stored() -> None:
    assert not Speed(compute=1.0, write=0.0, read=1.0, bytes=8).worth(10_000)


def test_a_prefix_is_measured_once_and_everyone_decides_alike(tmp_path: Path) -> None:
    calls: list[int] = []

    def features() -> torch.Tensor:
        calls.append(1)
        return torch.zeros(4, 100)

    first = speed_of(tmp_path, "name", features)
    assert len(calls) == 2
    assert first.bytes == 400
    assert min(first.compute, first.write, first.read) > 0
    assert speed_of(tmp_path, "name", features) == first
    assert len(calls) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"name.speed.json", "name.lock"}


def test_every_variant_has_to_be_computed_once() -> None:
    speed = Speed(compute=1.0, write=0.1, read=0.01, bytes=8)
    assert speed.worth(10, variants=4)
    assert not speed.worth(10, variants=5)
    assert not speed.worth(10, variants=10)


@pytest.mark.parametrize("content", ["{", "[]", '{"compute": 1}'])
def test_a_damaged_measurement_is_repeated(content: str, tmp_path: Path) -> None:
    (tmp_path / "name.speed.json").write_text(content)
    first = speed_of(tmp_path, "name", lambda: torch.zeros(4, 100))
    assert speed_of(tmp_path, "name", lambda: torch.ones(4, 3)) == first
