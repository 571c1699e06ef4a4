"""All that is wrong in one table: the worst first, every way out once."""

import pytest

from thawline.config.errors import UserError
from thawline.data.problems import Problem, Severity, listed, plain, require_usable, said, worst_first

ERROR = Problem(Severity.error, "class b", "is lost", 3, "-S target.allow_missing_classes=true")
WARNING = Problem(Severity.warning, "class a", "loses 9", 9)
NOTE = Problem(Severity.note, "", "files were passed over", 99)


def test_errors_come_first_then_what_concerns_most_pictures() -> None:
    more = Problem(Severity.error, "class c", "is lost", 4)
    assert worst_first([NOTE, WARNING, ERROR, more]) == [more, ERROR, WARNING, NOTE]


def test_without_an_error_a_data_set_can_be_used() -> None:
    require_usable([], "photos")
    require_usable([WARNING, NOTE], "photos")


def test_one_table_holds_all_and_each_way_out_once() -> None:
    others = [Problem(Severity.error, f"class {name}", "is lost", 1, ERROR.way_out) for name in "xyz"]
    with pytest.raises(UserError) as caught:
        require_usable([NOTE, *others, WARNING, ERROR], "photos")
    assert str(caught.value).splitlines() == [
        "photos cannot be used as it is. What is wrong, worst first:",
        "  error    class b  is lost",
        "  error    class x  is lost",
        "  error    class y  is lost",
        "  error    class z  is lost",
        "  warning  class a  loses 9",
        "  note              files were passed over",
        "  ",
        "  class b, class x, class y and 1 more: -S target.allow_missing_classes=true",
    ]


def test_a_long_table_is_cut() -> None:
    many = [Problem(Severity.error, f"class {number}", "is lost") for number in range(40)]
    with pytest.raises(UserError, match=r"and 10 more of these$"):
        require_usable(many, "photos")


def test_names_cannot_break_the_table() -> None:
    with pytest.raises(UserError, match=r"error    class a\\nb  is lost$"):
        require_usable([Problem(Severity.error, "class a\nb", "is lost")], "photos")
    assert plain("苹果 é\t") == "苹果 é\\t"


def test_a_problem_in_words() -> None:
    assert [said(WARNING), said(NOTE)] == ["class a: loses 9", "files were passed over"]
    assert listed(list("abcdefg"), 2) == "a, b and 5 more"
