"""cuts.csv of a search's evidence: how well solved heads do on single cuts and on several together."""

import logging

import pandas as pd

from thawline.artifacts import CUTS, EVIDENCE, write_table
from thawline.config.sections import Contender
from thawline.search.trial.trials import Trials, unit_name
from thawline.training.solve.choice import CutChoice, OutOfFold

log = logging.getLogger(__name__)

COLUMNS = ("cuts", "unit", "accuracy", "loss", "pictures", "chosen")


def write_cuts(trials: Trials) -> None:
    """Write cuts.csv into the evidence of the search where its heads read chosen cuts, or where its recipe is
    a linear probe; remove the one of an earlier search where not."""
    contender = trials.contender
    path = trials.artifacts.stage_output("search", contender.name, EVIDENCE) / CUTS
    if not (trials.have_cuts or (contender is Contender.linear_probe and trials.linear_head)):
        path.unlink(missing_ok=True)
        return
    write_table(path, cuts_table(trials.cuts, trials))
    read = trials.cuts.cuts
    which = f"the cuts behind {', '.join(map(str, read))} units" if len(read) > 1 else "the last cut alone"
    log.info("search %s: a solved head reads %s", contender.name, which)


def cuts_table(found: CutChoice, trials: Trials) -> pd.DataFrame:
    """Return a row for each set of cuts that was tried, single ones first: their depths, the name of the last
    unit before the deepest one, what heads said of so many pictures left out, and whether it was chosen."""
    tried: dict[tuple[int, ...], OutOfFold] = {(depth,): each for depth, each in found.singles.items()}
    rows = [
        {
            "cuts": " ".join(map(str, cuts)),
            "unit": unit_name(trials.units, cuts[-1]),
            "accuracy": each.accuracy,
            "loss": each.loss,
            "pictures": len(found.rows),
            "chosen": cuts == found.cuts,
        }
        for cuts, each in (tried | found.sets).items()
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))
