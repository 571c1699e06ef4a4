"""What the test pictures said, as a run in MLflow: one row for each evaluation, to compare fits by."""

from collections.abc import Iterator, Mapping
from typing import Any

from thawline import tracking
from thawline.artifacts import METRICS, RECIPE, Artifacts, fingerprint, read_json
from thawline.config.sections import Config, Contender
from thawline.data.naming import called
from thawline.data.recorded import recorded
from thawline.data.store import open_store
from thawline.training.recipe import lock_of, read_chosen, tracked

RECORDED = ("accuracy", "log_loss", "expected_calibration_error")
"""Of the metrics, those that become columns."""


def record(config: Config, artifacts: Artifacts) -> None:
    """Leave a run with the test metrics of every contender and the chosen recipe, after `evaluate`.

    The same evaluation is the same run, however often the stage comes again.
    """
    metrics = read_json(artifacts.reports / METRICS)
    chosen = read_chosen(artifacts.stage("search", Contender.finetuned.name) / RECIPE)
    test, lock = open_store(artifacts.data("test")), lock_of(config)
    tracking.connect(config.tracking.uri, config.tracking.experiment, artifacts.root)
    with tracking.run(
        f"test {called(config.target) or '?'}",
        stage="evaluate",
        parameters=tracked(chosen.recipe, chosen.depth, chosen.unit, linear_head=chosen.linear_head),
        tags={
            "contender": Contender.finetuned.name,
            "seed": config.seed,
            "data_fingerprint": test.fingerprint,
            **({"minutes": config.plan.minutes} if config.plan.minutes else {}),
        },
        lock=lock,
        once=f"evaluate-{fingerprint([metrics, lock])[:12]}",
        data=recorded(config.target, test=test),
    ) as run:
        run.log_metrics(dict(on_test(metrics, [each.name for each in config.contenders])))


def on_test(metrics: Mapping[str, Any], contenders: list[str]) -> Iterator[tuple[str, float]]:
    """Yield name and value of what metrics.json says of contenders: the fine-tuned one's with both ends of
    their intervals, `test_accuracy_low`; the others' behind their names, `linear_probe_test_accuracy`."""
    for contender in contenders:
        prefix = "" if contender == Contender.finetuned.name else f"{contender}_"
        for name in RECORDED:
            found = metrics[contender][name]
            yield f"{prefix}test_{name}", found["mean"]
            if not prefix:
                yield from ((f"test_{name}_{end}", found[end]) for end in ("low", "high"))
