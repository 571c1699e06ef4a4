"""The classes and their pictures in every split, before anything is made of them."""

from thawline.config.sections import Role
from thawline.data.collection import Collection, Item
from thawline.data.losses import Losses
from thawline.data.overview import overview


def lines(*items: tuple[str, str], **fields: object) -> list[str]:
    found = tuple(Item(str(number), label, split) for number, (label, split) in enumerate(items))
    return list(overview(Collection(found, lambda _: None, **fields), Role.target))


def test_without_splits_there_is_one_column() -> None:
    assert lines(("oak", ""), ("elm", ""), ("oak", "")) == [
        "target: 3 pictures of 2 classes found",
        "       pictures",
        "  elm         1",
        "  oak         2",
    ]


def test_given_splits_have_a_column_each() -> None:
    assert lines(("oak", "test"), ("elm", "train"), ("oak", "train"), ("elm", "")) == [
        "target: 4 pictures of 2 classes found",
        "          train      test  in no split",
        "  elm         1         0            1",
        "  oak         1         1            0",
    ]


def test_a_class_without_pictures_is_there_too() -> None:
    found = lines(("oak", ""), losses=Losses({"yew": {}}))
    assert [line.split() for line in found[2:]] == [["oak", "1"], ["yew", "0"]]


def test_names_are_shortened_and_many_classes_summed_up() -> None:
    found = lines(("a\nb", ""), *((f"{number:03d}" + "x" * 90, "") for number in range(60)))
    assert found[2].startswith(f"  000{'x' * 36}…  ")
    assert found[-1] == "  and 11 more, with 1 to 1 pictures each"
    assert all("\n" not in line for line in found)
