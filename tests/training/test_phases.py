"""Which units are frozen when, and at which rates the others learn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thawline.config.errors import FieldError
from thawline.config.recipe.rewards import Reward
from thawline.config.sections import Finetune, Phases
from thawline.training.optimization import Span
from thawline.training.phases import phases


def recipe(**changes: object) -> Finetune:
    return Finetune(**{"epochs": 10, "body_lr": 1e-3, "head_lr": 2e-2, **changes})  # type: ignore[arg-type]


def test_one_phase_is_the_whole_training() -> None:
    (only,) = phases(recipe(), 5, {0, 1})
    assert (only.first, only.epochs, only.frozen) == (0, 10, {0, 1})
    assert (only.head_lr, only.body_lr, only.span) == (2e-2, 1e-3, Span(0, 10))


def test_a_linear_head_that_learns_alone_is_solved_in_one_epoch() -> None:
    (only,) = phases(recipe(depth="all", body_lr=None), 3, {0, 1, 2})
    assert (only.solved, only.epochs) == (True, 1)
    (trained,) = phases(recipe(depth="all", body_lr=None), 3, {0, 1, 2}, linear=False)
    assert (trained.solved, trained.epochs) == (False, 10)


def test_probe_first_solves_the_head_then_trains_everything_at_the_bodys_rate() -> None:
    probe, everything = phases(recipe(phases=Phases.probe_first, phase_share=0.3, head_scale=0.5), 5, {0})
    assert (probe.solved, probe.epochs, probe.head_scale, probe.frozen) == (True, 0, 0.5, set(range(5)))
    assert (everything.first, everything.epochs, everything.frozen) == (0, 10, {0})
    assert everything.head_lr == everything.body_lr == 1e-3
    assert everything.span == Span(0, 10)


def test_probe_first_trains_a_head_that_is_not_linear_for_a_share_of_the_epochs() -> None:
    settings = recipe(phases=Phases.probe_first, phase_share=0.3)
    probe, everything = phases(settings, 5, {0}, linear=False)
    assert not probe.solved
    assert (probe.epochs, probe.frozen, probe.head_lr) == (3, set(range(5)), 2e-2)
    assert (everything.first, everything.epochs, everything.frozen) == (3, 7, {0})
    assert everything.head_lr == everything.body_lr == 1e-3
    assert [probe.span, everything.span] == [Span(0, 3), Span(3, 7)]


def test_gradual_thaws_one_unit_after_the_other_from_the_head_down() -> None:
    found = phases(recipe(phases=Phases.gradual, phase_share=0.8), 5, {0})
    assert [sorted(phase.frozen) for phase in found] == [
        [0, 1, 2, 3, 4],
        [0, 1, 2, 3],
        [0, 1, 2],
        [0, 1],
        [0],
    ]
    assert [phase.first for phase in found] == [0, 2, 4, 6, 8]
    assert {phase.span for phase in found} == {Span(0, 10)}
    assert {phase.head_lr for phase in found} == {2e-2}


def test_gradual_keeps_to_the_units_that_may_learn() -> None:
    found = phases(recipe(phases=Phases.gradual), 5, {0, 2, 4})
    assert [sorted(phase.frozen) for phase in found] == [[0, 1, 2, 3, 4], [0, 1, 2, 4], [0, 2, 4]]


@pytest.mark.parametrize("kind", [Phases.probe_first, Phases.gradual])
def test_where_no_unit_may_learn_there_is_nothing_to_phase(kind: Phases) -> None:
    assert len(phases(recipe(phases=kind, depth="all", body_lr=None), 3, {0, 1, 2})) == 1


@pytest.mark.parametrize("kind", [Phases.probe_first, Phases.gradual])
def test_two_phases_need_two_epochs(kind: Phases) -> None:
    with pytest.raises(
        FieldError, match=f"phases = .*{kind.name}.* is not allowed(?s:.*)one, because epochs is 1"
    ):
        recipe(phases=kind, epochs=1)


@given(
    st.sampled_from(Phases),
    st.integers(2, 40),
    st.floats(0.01, 0.99),
    st.integers(1, 30).flatmap(lambda units: st.tuples(st.just(units), st.sets(st.integers(0, units - 1)))),
)
def test_phases_follow_each_other_and_end_with_all_that_may_learn(
    kind: Phases, epochs: int, share: float, network: tuple[int, set[int]]
) -> None:
    units, frozen = network
    found = phases(recipe(phases=kind, epochs=epochs, phase_share=share), units, frozen)
    assert sum(phase.epochs for phase in found) == (1 if len(frozen) == units else epochs)
    assert [phase.first for phase in found] == [sum(p.epochs for p in found[:i]) for i in range(len(found))]
    assert all(phase.epochs > 0 or phase.solved for phase in found)
    assert found[-1].frozen == frozen
    for before, after in zip(found, found[1:], strict=False):
        assert before.frozen > after.frozen


@pytest.mark.parametrize("kind", Phases)
def test_a_reward_phase_takes_its_share_of_the_epochs_and_the_rates_of_the_one_before(kind: Phases) -> None:
    settings = recipe(phases=kind, reward=Reward.balanced_accuracy, reward_share=0.2)
    *before, last = phases(settings, 5, {0})
    assert before == list(phases(recipe(phases=kind, epochs=8), 5, {0}))
    assert (last.name, last.first, last.epochs, last.span) == ("reward", 8, 2, Span(8, 2))
    assert (last.frozen, last.head_lr, last.body_lr) == (
        before[-1].frozen,
        before[-1].head_lr,
        before[-1].body_lr,
    )
    assert [phase.rewarded for phase in (*before, last)] == [False] * len(before) + [True]


def test_some_epochs_are_left_for_either() -> None:
    for share, epochs in ((0.01, (2, 1)), (0.99, (1, 2))):
        found = phases(recipe(epochs=3, reward=Reward.balanced_accuracy, reward_share=share), 3, {0})
        assert tuple(phase.epochs for phase in found) == epochs
