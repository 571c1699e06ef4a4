"""The stage: labels worth a second look, and whether more pictures would help."""

import logging
from typing import Any

import numpy as np

from thawline.artifacts import LABELS, REVIEW, Artifacts, write_table
from thawline.config.sections import Config, Finetune
from thawline.data.store import Store, open_store
from thawline.data.thumbnails import emptied, write_thumbnail
from thawline.models.device import prepare_machine
from thawline.review.findings import MorePictures, Review, Suspect, write_review
from thawline.review.heads import Look, look
from thawline.review.labels import Ranking, ranking
from thawline.review.more_pictures import more_pictures
from thawline.training.head_cuts import initial_cuts, targets_of
from thawline.training.solve.targets import Targets

log = logging.getLogger(__name__)

NOTHING = "Too few pictures of a class for a linear head on the source model's features to say anything."


def review(config: Config, artifacts: Artifacts, head_cuts: Any = None) -> None:
    """Write review.json, pictures/ and labels.csv of artifacts/review, from the training and validation
    pictures whose labels were not voted for.

    head_cuts: `finetune.head_cuts`, as a plan may have decided it; heads read the last
        cut alone where it is no list of cuts that were stored.
    """
    folder = artifacts.stage_output("review")
    prepare_machine(config.trainer)
    store = open_store(artifacts.data("target")).own()
    targets = targets_of(store, len(store.classes), Finetune())
    features = _features(config, artifacts, store, head_cuts)
    found = look(features, targets, config.review.repeats, config.seed)
    if found is None:
        order, doubtful = np.arange(len(store)), 0
        result = Review(len(store), 0, NOTHING, (), MorePictures((), None, NOTHING))
    else:
        ranked = ranking(store.labels, found.probabilities, found.taught)
        order, doubtful = ranked.order, ranked.doubtful
        result = Review(
            len(store),
            doubtful,
            _sentence(doubtful, len(store)),
            _suspects(store, ranked, config.review.labels),
            _more(config, targets, found),
        )
    # the columns that `target=table` reads
    write_table(folder / LABELS, store.manifest.iloc[order][["path", "label", "group", "split"]])
    pictures = emptied(folder / "pictures")
    for place, row in enumerate(order[: len(result.labels)], 1):
        write_thumbnail(pictures / f"{place:02}.webp", store.images[row])
    write_review(folder / REVIEW, result)
    log.info("%s", result.sentence)
    log.info("%s", result.more_pictures.sentence)


def _features(config: Config, artifacts: Artifacts, store: Store, head_cuts: Any) -> list[np.ndarray]:
    """Return the features of all pictures at the cuts that heads read."""
    (cuts,) = initial_cuts(config, artifacts, store)
    listed = isinstance(head_cuts, list) and head_cuts and set(head_cuts) <= set(cuts)
    return [cuts[depth] for depth in (head_cuts if listed else [max(cuts)])]


def _more(config: Config, targets: Targets, found: Look) -> MorePictures:
    asked = targets.rows(found.rows)
    return more_pictures(
        found.curve,
        asked.labels,
        asked.together,
        len(targets.labels),
        confidence=config.evaluate.confidence,
        seed=config.seed,
    )


def _sentence(doubtful: int, pictures: int) -> str:
    if not doubtful:
        return f"None of the {pictures:,} labels of training and validation pictures is doubtful."
    verb = "label is" if doubtful == 1 else "labels are"
    where = "labels.csv beside the report has the worst first."
    return f"{doubtful:,} of {pictures:,} {verb} worth a second look; {where}"


def _suspects(store: Store, ranked: Ranking, most: int) -> tuple[Suspect, ...]:
    paths, labels = store.manifest["path"], store.manifest["label"]
    return tuple(
        Suspect(
            str(paths[row]),
            str(labels[row]),
            store.classes[ranked.likelier[row]],
            round(float(ranked.confidence[row]), 3),
            f"{place:02}.webp",
        )
        for place, row in enumerate(ranked.order[: min(most, ranked.doubtful)], 1)
    )
