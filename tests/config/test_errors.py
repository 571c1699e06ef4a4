"""What errors say where it is kept."""

from thawline.config.errors import first_line


def test_addresses_in_memory_are_left_out() -> None:
    error = ValueError(f"cannot identify {object()!r}, 0xff of it\nand more")
    assert first_line(error) == "cannot identify <object object at 0x…>, 0xff of it"


def test_an_error_without_words_is_called_by_its_kind() -> None:
    assert first_line(KeyboardInterrupt()) == "KeyboardInterrupt"
