"""Learning-rate range test (Smith 2017) of a recipe, and what it suggests: a tool, not a stage."""

import logging
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from thawline import tracking
from thawline.artifacts import Artifacts, atomic_path
from thawline.config.recipe.contenders import recipe_of
from thawline.config.sections import Config, Finetune, Phases
from thawline.data.store import open_store
from thawline.training.finetune import initial_network
from thawline.training.fit import device_of, prepare_machine
from thawline.training.loss_by_rate import HIGH, RangeTest, loss_by_rate
from thawline.training.optimization import Group
from thawline.training.recipe import lock_of, tracked
from thawline.training.run import Training

log = logging.getLogger(__name__)

Suggestions = dict[str, dict[str, float]]
"""Values of `head_lr` and `body_lr`, as far as the recipe has them, by where they come from:
`steepest`, `tenth_of_minimum`."""

_WORDS = {"steepest": "the loss falls fastest at", "tenth_of_minimum": "a tenth of where it is lowest:"}


def range_test(config: Config, artifacts: Artifacts, draw: Callable[[RangeTest, Path], None]) -> None:
    """Test the rates of `config.contender`'s configured recipe: write range_test.csv and, by `draw`,
    range_test.png, record an MLflow run and log what is suggested.

    Of a recipe with phases it is the last one, in which everything learns that may.
    """
    prepare_machine(config.trainer)
    recipe, seed = recipe_of(config.contender, config.finetune), config.seed * 1000
    store = open_store(artifacts.data("target"))
    network, card = initial_network(recipe, artifacts.stage("replace_head"), seed)
    training = Training(network, recipe, store, config.trainer, seed=seed, mirror=config.target.mirror)
    tags = {"contender": config.contender.name, "architecture": card.architecture, "seed": seed}
    tracking.connect(config.tracking.uri, config.tracking.experiment, artifacts.root)
    with tracking.run(
        f"range test {config.contender.name}",
        stage="range_test",
        parameters=tracked(recipe),
        tags={**tags, "data_fingerprint": store.fingerprint},
        lock=lock_of(config),
    ) as run:
        found, suggested = tested(training)
        folder = artifacts.stage_output("range_test")
        with atomic_path(folder / "range_test.csv") as path:
            pd.DataFrame(found.rows()).to_csv(path, index=False, lineterminator="\n")
        draw(found, folder / "range_test.png")
        run.log_history(found.rows(), step="step")
        for name, rates in suggested.items():
            run.log_metrics({f"{name}_{key}": rate for key, rate in rates.items()})
        run.log_artifact(folder)
    log.info("%s", in_words(suggested, found.diverged))


def tested(training: Training) -> tuple[RangeTest, Suggestions]:
    """The test of the last phase of `training`, none of whose weights change, and what it suggests."""
    classifier = training.prepared(training.phases[-1])
    found = loss_by_rate(classifier, training.training_batches(), device=device_of(training.trainer))
    return found, suggestions(found, classifier.groups, training.recipe)


def suggestions(found: RangeTest, groups: tuple[Group, ...], recipe: Finetune) -> Suggestions:
    """What each suggested rate of the fastest of `groups` means for the recipe's two rates."""
    configured = {"head_lr": recipe.head_lr, "body_lr": recipe.body_lr}
    if recipe.phases is Phases.probe_first and recipe.body_lr is not None:
        # its last phase, the one that is tested, has one rate for both
        del configured["head_lr"]
    learning = {f"{group.name.partition('.')[0]}_lr" for group in groups}
    fastest = max(group.learning_rate for group in groups)
    rates = {"steepest": found.steepest, "tenth_of_minimum": found.tenth_of_minimum}
    return {
        name: {key: rate / fastest * value for key, value in configured.items() if value and key in learning}
        for name, rate in rates.items()
        if rate is not None
    }


def in_words(suggested: Suggestions, diverged: bool) -> str:
    """What to tell the user, with the values as the command line takes them."""
    if not suggested:
        return "the loss fell at none of the learning rates: there is nothing to suggest"
    lines = [
        f"{_WORDS[name]} " + " ".join(f"finetune.{key}={value:.1e}" for key, value in rates.items())
        for name, rates in suggested.items()
    ]
    ending = "after that the loss diverged" if diverged else f"the loss did not diverge, not even at {HIGH:g}"
    return "\n".join([*lines, ending])
