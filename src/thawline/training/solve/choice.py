"""The cuts that a linear head is to read: the last one, unless several do better by more than chance.

The last cut of a network fits the pictures it was pretrained on. For others, earlier ones hold what it has
thrown away: a head on pooled features of many cuts was the better one on most of the 19 data sets of Evci and
others 2022 (Head2Toe), where single columns were chosen. Here whole cuts are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from thawline.statistics.paired import difference_interval
from thawline.training.solve.features import coordinates, standardised
from thawline.training.solve.head import penalty_path
from thawline.training.solve.left_out import FOLDS, folds_of, in_order, left_out, path_of
from thawline.training.solve.targets import Targets

MOST_CUTS = 9
"""Cuts that are compared: more, evenly spread, told no more (docs/heads.md)."""
MOST_ROWS = 1000
"""Rows that decide: what eight thousand would tell is known to a point from these."""
CONFIDENCE = 0.95
"""Of the paired interval that has to lie above the last cut's."""

Cuts = tuple[int, ...]
"""Depths, rising: how many leading units make what is read."""


@dataclass(frozen=True)
class OutOfFold:
    """What heads on some cuts say of pictures that they were not solved on, at the best of a path of
    penalties: the share they are right on, and the mean log-loss."""

    accuracy: float
    loss: float
    penalty: float


@dataclass(frozen=True, eq=False)
class CutChoice:
    """The decision, and what it rests on.

    Args:
        cuts: the chosen ones.
        singles: of each depth alone, where that was asked for: where this curve peaks, the source's features
            stop fitting.
        sets: of each candidate, the last cut alone among them.
        rows: (M,) the rows that were left out, rising: all, or those that decided.
    """

    cuts: Cuts
    singles: dict[int, OutOfFold]
    sets: dict[Cuts, OutOfFold]
    rows: np.ndarray

    @property
    def penalty(self) -> float | None:
        """The penalty that fits a head on the chosen cuts; None where nothing could be left out."""
        return self.sets[self.cuts].penalty if self.cuts in self.sets else None


def spread_depths(units: int) -> Cuts:
    """Return at most `MOST_CUTS` depths, evenly spread, of which the last is after all `units`."""
    count = min(units, MOST_CUTS)
    return tuple(round(units * place / count) for place in range(1, count + 1))


def candidates(depths: Sequence[int]) -> Iterator[Cuts]:
    """Yield the sets of cuts that are compared, the last cut alone first: the last three, the last five, all,
    and of all every third."""
    rising = tuple(sorted(depths))
    found = [rising[-1:], rising[-3:], rising[-5:], rising, rising[::-3][::-1]]
    yield from dict.fromkeys(found)


def choose_cuts(
    cuts: Mapping[int, np.ndarray], targets: Targets, *, seed: int = 0, curve: bool = True
) -> CutChoice:
    """Return the cuts that a head on frozen features is to read, chosen by out-of-fold predictions.

    Of the candidates the one with the least log-loss is taken, if its paired interval says that it beats the
    last cut alone; else the last cut. Log-loss tells more than the share of right answers of the few pictures
    there are. All candidates have the same folds, in which the views of a picture, and groups, stay
    together, and each has the penalty of its path that does best on them. Columns are standardised over all
    rows. Of more rows `MOST_ROWS` decide (`deciding_rows`).

    Args:
        cuts: features (N, D) of the same N pictures by depth.
        curve: say of each single cut, too, what it is worth, which takes longer than the choice itself.
    """
    rows = deciding_rows(targets, seed)
    asked, last = targets.rows(rows), max(cuts)
    masks = folds_of(asked, FOLDS, seed)
    if not masks:
        return CutChoice((last,), {}, {}, np.empty(0, int))
    blocks = {depth: _block(cut, rows) for depth, cut in cuts.items()}

    def predicted(chosen: Cuts) -> tuple[OutOfFold, np.ndarray]:
        columns = sum(blocks[depth].columns for depth in chosen)
        products = np.mean([blocks[depth].products for depth in chosen], axis=0)
        turned = coordinates(columns * products)
        path, said = path_of(turned, asked, penalty_path(columns), left_out(turned, asked, masks))
        at = path.chosen
        found = OutOfFold(float(path.accuracy[at]), float(path.loss[at]), float(path.penalties[at]))
        return found, in_order(said, masks)

    sets = {chosen: predicted(chosen) for chosen in candidates(list(cuts))}
    singles = {
        depth: sets[depth,][0] if (depth,) in sets else predicted((depth,))[0]
        for depth in (sorted(cuts) if curve else ())
    }
    best = min(sets, key=lambda each: (sets[each][0].loss, len(each)))
    chosen = best if _beats(sets[best][1], sets[last,][1], asked) else (last,)
    found = {each: one for each, (one, _) in sets.items()}
    return CutChoice(chosen, singles, found, rows)


@dataclass(frozen=True, eq=False)
class _Block:
    """The inner products (N, N) of one cut's standardised columns, each cut as heavy as any other."""

    columns: int
    products: np.ndarray


def _block(cut: np.ndarray, rows: np.ndarray) -> _Block:
    table = standardised([cut[rows]]).rows
    return _Block(table.shape[1], table @ table.T / table.shape[1])


def deciding_rows(targets: Targets, seed: int, most: int = MOST_ROWS) -> np.ndarray:
    """Return the rows that decide, rising: all, or where these are more than `most`, so many of those that
    may judge, of each class about the same share. Views and groups stay whole, so that the last of these may
    bring more; and there are as many of them as folds, however large they are."""
    if len(targets.labels) <= most:
        return np.arange(len(targets.labels))
    judged = np.flatnonzero(~targets.pseudo)
    part, labels = targets.grouped(judged)
    random = np.random.default_rng(seed)
    shuffled = random.permutation(len(labels))
    place = np.empty(len(labels))
    for label in np.unique(labels):
        of_class = shuffled[labels[shuffled] == label]
        place[of_class] = (np.arange(len(of_class)) + random.random(len(of_class))) / len(of_class)
    order = np.argsort(place)
    sizes = np.bincount(part)[order]
    taken = order[(np.cumsum(sizes) - sizes < most) | (np.arange(len(order)) < FOLDS)]
    return judged[np.isin(part, taken)]


def _beats(one: np.ndarray, other: np.ndarray, asked: Targets) -> bool:
    """Tell whether logits (N, classes) lose less than other ones, by more than chance."""
    losses = [asked.losses(each) * asked.weights / asked.weights.mean() for each in (one, other)]
    ends = difference_interval(losses[0][None], losses[1][None], asked.together, CONFIDENCE, limit=np.inf)
    return ends[1] < 0
