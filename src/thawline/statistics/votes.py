"""What several voters say of each picture: the majority, Dawid and Skene's consensus, and who copies whom.

Dawid and Skene (1979): every voter has a table of confusions of his own, which expectation maximisation finds
together with what each picture probably shows. It holds where voters err independently of each other, given
the class; voters that are copies do not.
"""

import numpy as np

ROUNDS, ENOUGH = 200, 1e-6
"""Most rounds, and the change of a share below which they end."""
COMMON_BEFORE, OWN_BEFORE = 30.0, 30.0
"""Few votes say little: by so many, a voter is taken to be right as often as all voters are, and by so many
of each class, to be right as often as over all classes."""
COMMON = 20
"""Pictures that two voters must have in common before they are compared."""
ALIKE = 0.5
"""Share of the agreement that independent voters lack from which two voters are copies of each other."""
DEVIATIONS = 2.5
"""By so many standard deviations an agreement must be above that."""
FITTED = 100
"""Rounds in which the numbers of voters are fitted."""


def majority(votes: np.ndarray, classes: int) -> np.ndarray:
    """Return the share (N, classes) of the voters of each picture that said each class; the classes' mean
    share where nobody voted.

    votes: (N, V) in 0 .. classes - 1, -1 where the voter abstains.
    """
    counts = (votes[:, :, None] == np.arange(classes)).sum(1).astype(float)
    given = counts.sum(1, keepdims=True)
    mean = np.full(classes, 1 / classes) if not given.any() else counts.sum(0) / given.sum()
    return np.where(given > 0, counts / np.maximum(given, 1), mean)


def consensus(votes: np.ndarray, classes: int, known: np.ndarray | None = None) -> np.ndarray:
    """Return what each picture probably shows by what the voters say together, each as reliable as he is
    found to be: shares (N, classes), rows with the sum 1.

    Args:
        votes: (N, V) in 0 .. classes - 1, -1 where the voter abstains.
        known: (N,) the class of pictures whose class is known, -1 elsewhere: these say how reliable voters
            are, and stay what they are.
    """
    said = (votes[:, :, None] == np.arange(classes)).astype(float)
    fixed = np.full(len(votes), False) if known is None else known >= 0
    shares = majority(votes, classes)
    if known is not None:
        shares[fixed] = np.eye(classes)[known[fixed]]
    for _ in range(ROUNDS):
        confusions = _confusions(said, shares)
        prior = (shares.sum(0) + 1) / (len(shares) + classes)
        found = np.log(prior) + np.einsum("nvj,vkj->nk", said, np.log(confusions))
        found = np.exp(found - found.max(1, keepdims=True))
        found /= found.sum(1, keepdims=True)
        found[fixed] = shares[fixed]
        change, shares = np.abs(found - shares).max(initial=0.0), found
        if change < ENOUGH:
            break
    return shares


def _confusions(said: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return (V, classes, classes) what each voter says (column) of each class (row), rows with the sum 1, by
    what was said, (N, V, classes), of pictures that are `shares`."""
    counts = np.einsum("nk,nvj->vkj", shares, said)
    classes = counts.shape[1]
    hits, given = np.einsum("vkk->v", counts), counts.sum((1, 2))
    common = (hits.sum() + 1) / (given.sum() + classes)
    right = ((hits + COMMON_BEFORE * common) / (given + COMMON_BEFORE))[:, None, None]
    own = np.eye(classes)
    counts += OWN_BEFORE * np.where(own, right, (1 - right) / max(classes - 1, 1))
    return counts / counts.sum(2, keepdims=True)


def reliability(votes: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return (V,) how often each voter is right, by what pictures probably show; NaN where he has no
    votes."""
    voted = votes >= 0
    right = np.where(voted, np.take_along_axis(shares, np.maximum(votes, 0), 1), 0.0).sum(0)
    return np.divide(right, voted.sum(0), out=np.full(votes.shape[1], np.nan), where=voted.any(0))


def joined(votes: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return (N, groups): voters that are copies as one, who says what the first of them says that votes.

    first: (V,) as `copies` returns it.
    """
    found = []
    for voter in np.unique(first):
        group = votes[:, first == voter]
        given = (group >= 0).argmax(1)
        found.append(np.take_along_axis(group, given[:, None], 1)[:, 0])
    return np.stack(found, 1)


def copies(votes: np.ndarray, classes: int) -> np.ndarray:
    """Return (V,) the number of the first voter that each voter is a copy of: his own where he is none's.

    Above chance, independent voters agree as often as the product of two numbers says, one for each voter:
    how well he knows. The numbers are fitted to all pairs but one, and the two of this pair are copies where
    their agreement closes half of the gap between what the numbers say and full agreement, by more than
    chance. That needs two other voters who agree above chance: without them two that agree may be all that
    know. Else, and of voters that name one class only, those are copies that answer alike on all pictures. A
    copy of a copy is one of the first.
    """
    voters = votes.shape[1]
    first, agreed, error = np.arange(voters), np.full((voters, voters), np.nan), np.zeros((voters, voters))
    for one in range(voters):
        for other in range(one):
            both = votes[(votes[:, one] >= 0) & (votes[:, other] >= 0)][:, [one, other]]
            shares = np.stack([np.bincount(each, minlength=classes) for each in both.T]) / max(len(both), 1)
            chance = float(shares[0] @ shares[1])
            if len(both) >= COMMON and chance < 1:
                share = float((both[:, 0] == both[:, 1]).mean())
                agreed[one, other] = agreed[other, one] = (share - chance) / (1 - chance)
                error[one, other] = np.sqrt(share * (1 - share) / len(both)) / (1 - chance)
                error[other, one] = error[one, other]
    for one in range(voters):
        for other in range(one):
            same = (votes[:, one] == votes[:, other]).all() and (votes[:, one] >= 0).sum() >= COMMON
            if same or _are_copies(agreed, error, one, other):
                first[first == first[one]] = first[other]
    return first


def _are_copies(agreed: np.ndarray, error: np.ndarray, one: int, other: int) -> bool:
    """Tell whether two voters agree as only copies do, by what all pairs agree above chance, (V, V), and the
    standard deviation of that."""
    sure = agreed - DEVIATIONS * error
    third = np.delete(np.delete(sure, [one, other], 0), [one, other], 1)
    if np.isnan(agreed[one, other]) or not (third > 0).any():
        return False
    others = agreed.copy()
    others[one, other] = others[other, one] = np.nan
    known, there = np.nan_to_num(others), ~np.isnan(others)
    loading = np.sqrt(np.clip(known.sum(0) / np.maximum(there.sum(0), 1), 0.01, 1))
    for _ in range(FITTED):
        # each number by least squares for the others', half of the way
        fitted = np.clip(known @ loading / np.maximum(there @ loading**2, 1e-9), -1, 1)
        loading = (loading + fitted) / 2
    expected = float(loading[one] * loading[other])
    return bool(sure[one, other] > expected + ALIKE * (1 - expected))
