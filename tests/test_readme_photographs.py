"""Every command of the README, and of the page it sends to next, that is about one's own photographs does
what it says, in a clone, on toy pictures.

The commands of the README run once, in order, and the tests look at what each said and left.
"""

import re
import shutil

import pytest
from tests_clone import Clone, save_pictures, stages_in
from tests_commands import (
    MINUTES,
    about_photographs,
    commands,
    lend_this_environment,
    only,
    publish_weights,
    run,
    run_all,
    shortened,
    shrink,
    status_with_a_new_picture,
)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone whose configuration is small enough for a test, with the pictures the README speaks of."""
    made = Clone(tmp_path_factory.mktemp("photographs"))
    shrink(made)
    save_pictures(made.home / "leaves", 20, 0)
    shutil.copytree(made.home / "leaves" / "down", made.root / "more-leaves")
    shutil.copy(made.home / "leaves" / "across" / "0.png", made.root / "leaf.jpg")
    lend_this_environment(made)
    publish_weights(made)
    return made


def written() -> list[str]:
    """List the commands: of the README first."""
    return [each for each in commands() if about_photographs(each)]


@pytest.fixture(scope="module")
def said(clone: Clone) -> dict[str, str]:
    """Run the commands of the README; what each said, by the command as it is written there."""
    return run_all(clone, written()[:-1])


@pytest.mark.slow
@pytest.mark.timeout(60 * MINUTES)
def test_a_fit_says_its_command_its_plan_and_its_answer(clone: Clone, said: dict[str, str]) -> None:
    answer = only(said, "thawline fit")
    assert answer.startswith("dvc exp run -S source=imagenet -S target=image_folder -S target.root=")
    # it goes on where it was killed
    assert "params" in stages_in(said["killed"])
    assert "params" not in stages_in(answer)
    for words in ("stage 9 of 15: plan", "a first model is ready", "plan for 1 minutes"):
        assert words in answer
    # so few pictures may all be right
    assert re.search(r"^accuracy   [01]\.\d{3} \(", answer, re.M)
    assert (clone.root / "fits/leaves/report/README.md").exists()
    assert len(only(said, "thawline predict").splitlines()) > 1


@pytest.mark.slow
def test_a_killed_fit_leaves_nobody_at_work_and_goes_on_with_the_time_it_has_used(
    clone: Clone, said: dict[str, str]
) -> None:
    assert "stage 6 of 15" not in said["killed"]
    assert re.search(r"^goes on: [1-9]\d* s of its time were used before$", only(said, "thawline fit"), re.M)
    # DVC, which was killed as well, had left git on none
    assert clone.run("git", "symbolic-ref", "--short", "HEAD").strip() in ("main", "master")


@pytest.mark.slow
def test_new_pictures_of_the_target_are_noticed(clone: Clone, said: dict[str, str]) -> None:
    status = status_with_a_new_picture(clone)
    changed = {line.rstrip(":") for line in status.splitlines() if line and not line[0].isspace()}
    assert changed == {"choose_source", "prepare_target"}


@pytest.mark.slow
def test_published_weights_of_another_network_are_a_source_as_well(
    clone: Clone, said: dict[str, str]
) -> None:
    output = run(clone, shortened(written()[-1]))
    assert stages_in(output)[-1] == "replace_head"
    assert "tensors taken" in output
