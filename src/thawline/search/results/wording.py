"""The recommendation's reason, in sentences for those who will act on it."""

from collections.abc import Sequence

import numpy as np

from thawline.statistics.depths import AtDepth, Resampled, best


def reason(
    points: Sequence[AtDepth],
    found: Resampled,
    alike: np.ndarray,
    chosen: int,
    tolerance: float | None,
    needed: int | None,
    folds: int = 1,
) -> str:
    """Why `points[chosen]` is recommended.

    Args:
        points: by increasing depth; `found` and `alike` (K,) belong to them.
        chosen: position of the recommended depth.
        tolerance: how far below the best it may have measured, where that excluded cheaper ones; or None.
        needed: pictures that would show a difference of two points; or None.
        folds: parts of the cross-validation; 1 where the pictures were a held-out part.
    """
    depth, first, on = points[chosen].depth, best(found), _pictures(found, folds)
    if len(points) == 1:
        return f"Depth {depth} was the only one tried."
    if alike.sum() == 1:
        accuracy = f"{100 * found.value[first]:.1f} %"
        sentences = [f"Depth {depth} is right on {accuracy} of your {on}; chance does not explain its lead."]
    else:
        names = listed([point.depth for point, is_alike in zip(points, alike, strict=True) if is_alike])
        which = _which(depth, chosen == first, tolerance)
        sentences = [
            f"Depths {names} are indistinguishable on your {on}; {which}.",
            _more(needed, len(found.clusters)),
        ]
    if min(len(point.correct) for point in points) == 1:
        sentences.append("Some depths were trained with one seed only, so how seeds vary is not in this.")
    return " ".join(sentences)


def _which(depth: int, measured_best: bool, tolerance: float | None) -> str:
    if tolerance is None:
        return f"depth {depth} is the cheapest of them"
    within = points_of(tolerance)
    if measured_best:
        return f"depth {depth} measured best, and the cheaper ones of them more than {within} lower"
    return f"depth {depth} is the cheapest of them that measured within {within} of the best"


def _pictures(found: Resampled, folds: int) -> str:
    pictures = len(found.clusters)
    grouped = f" ({found.independent:,} groups)" if found.independent < pictures else ""
    if folds > 1:
        return f"{pictures:,} pictures{grouped}, validated by {folds}-fold cross-validation"
    return f"{pictures:,} validation pictures{grouped}"


def incomplete(missing: Sequence[int], lacking: Sequence[int]) -> list[str]:
    """Sentences on what the evidence lacks.

    Args:
        missing: depths at which there is nothing to compare.
        lacking: depths at which some of the fresh seeds failed.
    """
    sentences = []
    if missing:
        sentences.append(f"{_depths(missing)} not compared: everything tried there failed.")
    if lacking:
        sentences.append(f"{_depths(lacking)} compared with fewer seeds than the others: some failed.")
    return sentences


def _depths(depths: Sequence[int]) -> str:
    return f"Depth {depths[0]} was" if len(depths) == 1 else f"Depths {listed(depths)} were"


def without_curve(trials: int | None, pictures: int | None, folds: int = 1) -> str:
    """Why there is nothing to recommend: no depth curve was made.

    Args:
        trials: how many there were; None where the search was off.
        pictures, folds: that the trials were validated on.
    """
    if trials is None:
        return (
            "The search was off, so this depth is the configured one and no other was tried. "
            "search=depth_curve would tell how the depths differ."
        )
    how = f", validated by {folds}-fold cross-validation" if folds > 1 else ""
    on = f" on {pictures:,} {'' if folds > 1 else 'validation '}pictures{how}" if pictures else ""
    those = f"the best of {trials:,} trials{on}" if trials > 1 else f"that of the only trial{on}"
    return (
        f"No depth curve was made: this depth is {those}. Whether other depths are as good cannot be told "
        "from it, because each was tried with other learning rates and chance has its share in which trial "
        "is best. search=depth_curve would tell."
    )


def _more(needed: int | None, pictures: int) -> str:
    if needed is None:
        return "They are right on the same pictures, which cannot tell how many more would show a difference."
    if needed <= pictures:
        return f"A difference of 2 points would probably have shown: that takes about {needed:,} pictures."
    return f"About {needed:,} pictures to validate on would show a difference of 2 points."


def points_of(share: float) -> str:
    """A difference in accuracy, in words: 0.01 is `1 point`."""
    number = f"{100 * share:g}"
    return f"{number} point" if number == "1" else f"{number} points"


def listed(depths: Sequence[int]) -> str:
    """Depths in words: `0 and 2`, `0 to 4, 6 and 8`; three or more in a row are a range."""
    runs: list[list[int]] = []
    for depth in depths:
        if runs and depth == runs[-1][-1] + 1:
            runs[-1].append(depth)
        else:
            runs.append([depth])
    names = [
        name
        for run in runs
        for name in ([f"{run[0]} to {run[-1]}"] if len(run) > 2 else [str(depth) for depth in run])
    ]
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
