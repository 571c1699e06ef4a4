"""Every place of a study, and how many there are."""

from typing import Any

from thawline.config.sections import Finetune, Goal, PrunerName, SamplerName, Search, Space
from thawline.models.cuts import Unit
from thawline.search.space.slots import Slots

BASE = Finetune(depth="b", body_lr=1e-3)
UNITS = tuple(Unit(index, name, (f"{name}.weight",), ()) for index, name in enumerate("abc"))


def slots(search: Search, depths: list[int], **more: Any) -> Slots:
    return Slots(search, BASE, depths, UNITS, None, **more)


def curve(**choices: list[Any]) -> Search:
    return Search(
        goal=Goal.depth_curve,
        trials_per_depth=3,
        sampler=SamplerName.random,
        pruner=PrunerName.none,
        space=Space(choices=choices),
    )


def of_depths(found: Slots) -> list[tuple[Any, Any]]:
    assert found.total is not None
    assert found.slot(found.total) is None
    made = [found.slot(index) for index in range(found.total)]
    return [(slot.params.get("depth"), slot.attrs["rates"]) for slot in made if slot]


def test_a_curve_takes_all_depths_in_turn_the_configured_recipe_first() -> None:
    found = slots(curve(), [0, 1])
    assert of_depths(found) == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]
    first = found.slot(0)
    assert first is not None
    assert first.params == {"depth": 0, "head_lr": 1e-2, "body_lr": 1e-3}


def test_a_depth_where_nothing_varies_has_one_place() -> None:
    assert of_depths(slots(curve(), [1, 3])) == [(1, 0), (3, 0), (1, 1), (1, 2)]
    assert slots(curve(), [1, 3], linear_head=False).total == 6
    assert slots(curve(head_penalty=[1.0, 10.0]), [1, 3]).total == 6


def test_a_study_in_which_nothing_varies_has_one_place() -> None:
    for search in (Search(trials=20), curve(), Search(sampler=SamplerName.grid)):
        found = slots(search, [3])
        assert found.total == 1
        assert found.slot(0) is not None
        assert found.slot(1) is None
    assert slots(Search(trials=20), [3], linear_head=False).total == 20
    assert slots(Search(trials=20), [2, 3]).total == 20


def test_without_a_search_there_are_no_places() -> None:
    assert slots(Search(enabled=False), [3]).total == 0
