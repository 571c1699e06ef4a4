"""The recommendation's reason, in sentences for those who will act on it."""

from collections.abc import Iterable, Sequence
from typing import Any

from thawline.statistics.recommendation import Recommendation
from thawline.wording import listed, percent

OTHER_TRAINING_PICTURES = (
    "Other training pictures might rank the depths otherwise; no interval here holds that."
)


def reason(found: Recommendation, folds: int = 1) -> str:
    """Say why the depth is recommended.

    Args:
        found: the facts.
        folds: parts of the cross-validation; 1 where the pictures were a held-out part.
    """
    if found.depths == 1:
        return f"Depth {found.chosen.depth} was the only one tried."
    on = _pictures(found, folds)
    if len(found.alike) == 1:
        right = f"is right on {percent(found.accuracy)} of your {on}"
        sentences = [f"Depth {found.best.depth} {right}; chance does not explain its lead."]
    else:
        sentences = [
            f"Depths {ranges(found.alike)} are indistinguishable on your {on}; {_which(found)}.",
            _more(found.pictures_needed, found.pictures),
        ]
    if found.fewest_seeds == 1:
        sentences.append("Some depths were trained with one seed only, so how seeds vary is not in this.")
    return " ".join([*sentences, OTHER_TRAINING_PICTURES])


def _which(found: Recommendation) -> str:
    depth = found.chosen.depth
    if found.tolerance is None:
        return f"depth {depth} is the cheapest of them"
    within = points_of(found.tolerance)
    if found.chosen is found.best:
        return f"depth {depth} measured best, and the cheaper ones of them more than {within} lower"
    return f"depth {depth} is the cheapest of them that measured within {within} of the best"


def _pictures(found: Recommendation, folds: int) -> str:
    grouped = f" ({found.independent:,} groups)" if found.independent < found.pictures else ""
    if folds > 1:
        return f"{found.pictures:,} pictures{grouped}, validated by {folds}-fold cross-validation"
    return f"{found.pictures:,} validation pictures{grouped}"


def incomplete(missing: Sequence[int], lacking: Sequence[int]) -> list[str]:
    """Say what the evidence lacks, in a sentence for each lack.

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
    return f"Depth {depths[0]} was" if len(depths) == 1 else f"Depths {ranges(depths)} were"


def without_curve(
    trials: int | None, pictures: int | None, folds: int = 1, best: dict[str, Any] | None = None
) -> str:
    """Say why there is nothing to recommend: no depth curve was made.

    Args:
        trials: how many there were; None where no search was made.
        pictures, folds: that the trials were validated on.
        best: number and accuracy of a trial that measured better than the selected one, but not by more than
            a standard error.
    """
    if trials is None:
        return (
            "No search was made, so no other depth was tried. search=depth_curve would tell how the depths "
            "differ."
        )
    how = f", validated by {folds}-fold cross-validation" if folds > 1 else ""
    on = f" on {pictures:,} {'' if folds > 1 else 'validation '}pictures{how}" if pictures else ""
    those = f"the best of {trials:,} trials{on}" if trials > 1 else f"that of the only trial{on}"
    if best:
        those = (
            f"the most frozen of those that measured within one standard error of the best of {trials:,} "
            f"trials{on}"
        )
    return (
        f"No depth curve was made: this depth is {those}. Whether other depths are as good cannot be told "
        "from it, because none was trained again with fresh seeds, and chance has its share in which trial "
        "is best. search=depth_curve would tell."
    )


def _more(needed: int | None, pictures: int) -> str:
    if needed is None:
        return "They are right on the same pictures, which cannot tell how many more would show a difference."
    if needed <= pictures:
        return f"A difference of 2 points would probably have shown: that takes about {needed:,} pictures."
    return f"About {needed:,} pictures to validate on would show a difference of 2 points."


def points_of(share: float) -> str:
    """Put a difference in accuracy into words: 0.01 is `1 point`."""
    number = f"{100 * share:g}"
    return f"{number} point" if number == "1" else f"{number} points"


def ranges(numbers: Iterable[int]) -> str:
    """Put numbers into words: `0 and 2`, `0 to 4, 6 and 8`; three or more in a row are a range."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    words: list[str] = []
    for run in runs:
        words += [f"{run[0]} to {run[-1]}"] if len(run) > 2 else map(str, run)
    return listed(words)
