"""What pictures without a label are taught as: what voters say of them, each as reliable as he is found to
be."""

from dataclasses import dataclass

import numpy as np

from thawline.data.votes import Votes
from thawline.statistics.votes import consensus, copies, joined, majority, reliability


@dataclass(frozen=True)
class Voter:
    """One voter: how many pictures he voted on, the share of these that he is right on by what all voters say
    together, None without votes, and whom he is a copy of."""

    name: str
    pictures: int
    right: float | None
    copy_of: str | None


@dataclass(frozen=True, eq=False)
class Voted:
    """`shares` (N, classes) is what each picture is taught as, rows with the sum 1; `voters` who said so, the
    most reliable first; `sentences` what there is to say of it."""

    shares: np.ndarray
    voters: tuple[Voter, ...]
    sentences: tuple[str, ...]
    warnings: tuple[str, ...]


def voted(votes: Votes, labels: np.ndarray, classes: int, validating: np.ndarray) -> Voted:
    """Return what the votes make of pictures with these labels (N,), which stay where they are known.

    Voters that are copies of each other count as one. Labels of pictures that are `validating` (N,) do not
    say how reliable voters are, so they decide nothing that other pictures are taught as.
    """
    first = copies(votes.said, classes)
    known = np.where(votes.known & ~validating, labels, -1)
    together = joined(votes.said, first)
    shares = consensus(together, classes, known)
    silent = ~votes.known & (votes.said < 0).all(1)
    own = votes.known | silent
    shares[own] = np.eye(classes)[labels[own]]
    right = reliability(votes.said, shares)
    voters = [
        Voter(
            name,
            int((votes.said[:, voter] >= 0).sum()),
            None if np.isnan(right[voter]) else round(float(right[voter]), 4),
            None if first[voter] == voter else votes.voters[first[voter]],
        )
        for voter, name in enumerate(votes.voters)
    ]
    ordered = sorted(voters, key=lambda each: (each.right is None, -(each.right or 0.0), each.name))
    asked = ~votes.known
    other = int((shares.argmax(1) != majority(votes.said, classes).argmax(1))[asked].sum())
    return Voted(shares, tuple(ordered), _sentences(ordered, votes.known, other), _warnings(voters))


def _sentences(voters: list[Voter], known: np.ndarray, other: int) -> tuple[str, ...]:
    asked = int((~known).sum())
    who = "1 voter says" if len(voters) == 1 else f"{len(voters)} voters say"
    found = [
        f"{who} what {asked:,} pictures without a label show (Dawid and Skene); "
        f"the labels of {int(known.sum()):,} pictures stay as they are."
    ]
    spoken = [each for each in voters if each.right is not None]
    if len(spoken) > 1:
        best, worst = spoken[0], spoken[-1]
        found.append(
            f"The most reliable is {best.name} (right on {best.right:.0%} of what he voted on), the least "
            f"{worst.name} ({worst.right:.0%})."
        )
    than = "none" if not other else f"{other:,} of {asked:,}"
    found.append(f"By majority {than} of these pictures would be taught as another class.")
    return tuple(found)


def _warnings(voters: list[Voter]) -> tuple[str, ...]:
    said = [
        f"{each.name} says what {each.copy_of} says, more often than independent voters would: they count "
        "as one."
        for each in voters
        if each.copy_of is not None
    ]
    mute = [f"{each.name} votes on no training picture." for each in voters if not each.pictures]
    return (*said, *mute)
