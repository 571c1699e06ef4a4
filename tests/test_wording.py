"""Numbers and lists read the same everywhere."""

import pytest

from thawline import wording


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0312, "+3.1"),
        (-0.0312, "−3.1"),
        (0.0, "0.0"),
        (0.0002, "+0.02"),
        (-0.00001, "0.0"),
        (1.0, "+100.0"),
    ],
)
def test_points_keep_their_sign_and_do_not_hide_small_differences(share: float, text: str) -> None:
    assert wording.points(share) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3600, "1 h 0 min"),
        (7199, "2 h 0 min"),
    ],
)
def test_durations_never_show_sixty_of_a_unit(seconds: float, text: str) -> None:
    assert wording.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(3.16e-3, "3.2e-3"), (1e-3, "1e-3"), (0.1, "1e-1"), (None, "–"), (float("nan"), "–")],
)
def test_learning_rates_are_short(value: float | None, text: str) -> None:
    assert wording.rate(value) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "", "0"),
        (850.4, "", "850"),
        (999.6, "", "1.00 k"),
        (11_179_077, "", "11.2 M"),
        (1_814_073_344, "FLOP", "1.81 GFLOP"),
        (740, "FLOP", "740 FLOP"),
        (999_600_000, "FLOP", "1.00 GFLOP"),
    ],
)
def test_amounts_have_three_digits(value: float, unit: str, text: str) -> None:
    assert wording.amount(value, unit) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(2**19, "0 MiB"), (700 * 2**20, "700 MiB"), (3 * 2**29, "1.5 GiB"), (2**40, "1024.0 GiB")],
)
def test_memory_is_in_binary_units(size: float, text: str) -> None:
    assert wording.memory(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.3, "0 s"), (89.4, "89 s"), (90, "2 min"), (7200, "120 min")]
)
def test_a_guessed_time_pretends_no_precision(seconds: float, text: str) -> None:
    assert wording.roughly(seconds) == text


def test_an_interval_follows_its_number() -> None:
    interval = {"mean": 0.1234, "low": -0.01, "high": 0.2}
    assert wording.with_range(interval) == "0.123 (-0.010 to 0.200)"
    assert wording.percent_with_range(interval) == "12.3 % (-1.0 to 20.0)"
    assert wording.points_with_range(interval) == "+12.3 (−1.0 to +20.0)"


@pytest.mark.parametrize(("words", "text"), [([], ""), (["a"], "a"), (["a", "b", "c"], "a, b and c")])
def test_a_list_ends_with_and(words: list[str], text: str) -> None:
    assert wording.listed(words) == text
