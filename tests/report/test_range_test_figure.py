"""The figure of the range test says what was found."""

from thawline.report.figures.range_test import loss_over_rate, write_range_test
from thawline.report.figures.style import render
from thawline.training.range_test import RangeTest

RATES = tuple(10.0**power for power in range(-6, 0))


def found(losses: tuple[float, ...], diverged: bool = False) -> RangeTest:
    return RangeTest(RATES, losses, losses, diverged)


FALLS = found((2.0, 1.9, 1.0, 0.5, 0.9, 9.0), diverged=True)


def test_the_suggested_rates_are_marked() -> None:
    (axes,) = render(loss_over_rate(FALLS), 60).axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["each step", "smoothed", "steepest: 1e-4", "tenth of the minimum's: 1e-4"]
    assert axes.get_xscale() == "log"


def test_the_title_states_what_is_seen() -> None:
    assert loss_over_rate(FALLS).sentence == (
        "The loss fell fastest at a learning rate of 1e-4 and diverged at 1e-1."
    )
    assert loss_over_rate(found((2.0, 1.9, 1.0, 0.5, 0.4, 0.3))).sentence.endswith("did not diverge.")
    assert loss_over_rate(found((1.0, 2.0, 3.0, 4.0, 5.0, 6.0))).sentence.startswith("The loss fell at none")


def test_an_exploding_loss_leaves_the_rest_readable() -> None:
    (axes,) = render(loss_over_rate(FALLS), 60).axes
    assert axes.get_ylim()[1] < 4


def test_the_file_is_a_picture(tmp_path) -> None:
    write_range_test(FALLS, tmp_path / "range_test.png")
    assert (tmp_path / "range_test.png").read_bytes().startswith(b"\x89PNG")
