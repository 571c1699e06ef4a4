"""Looking at studies and going on with them: what `thawline study` does.

Nothing here imports torch but `resume`, which trains.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from omegaconf import OmegaConf
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from thawline.artifacts import COSTS, RECIPE, Artifacts, read_json, write_text
from thawline.config.composition import LOCK, load_lock, repository_root
from thawline.config.errors import UserError, closest
from thawline.config.search import Search
from thawline.search.study.configuration import CONFIG, OUTPUTS, by_hand, configuration
from thawline.search.study.database import connect, explained, is_shared, location
from thawline.search.study.study import DECISIVE, REASON, SIGN, STATES, best_trial, other_study, plain
from thawline.tracking.text import PASSWORD, without_password

FAILURES = 5
"""So many of the last failures are shown."""


@dataclass(frozen=True)
class Overview:
    """A study at a glance. `states` counts trials by their words (`STATES` of the study); `seconds`
    is the time its trials took, side by side counted twice, or what it used of a time limit; accuracies lie
    in 0..1."""

    name: str
    goal: str
    states: Mapping[str, int]
    best: FrozenTrial | None
    """As `thawline.search.study.study.best_trial` chooses it."""
    corrected: Mapping[str, float] | None
    """`mean`, `low` and `high` of the best's accuracy, corrected for having been selected; None where the
    search has not ended."""
    seconds: float
    failures: Mapping[int, str]
    """The reasons of the last ones by the trial's number, the latest first."""


def storage_of(url: str | None) -> Search:
    """Settings with the database of studies at `url`; None: what the repository's lock says."""
    if url is None and (repository_root() / LOCK).exists():
        url = OmegaConf.select(load_lock(repository_root()), "search.storage")
    if url is not None and "://" not in url:
        raise UserError(
            f"--storage {url} is no address of a database.\n"
            f"  a sqlite file has this one: sqlite:///{url}; a server: postgresql+psycopg2://user@host/name"
        )
    return Search(storage=url)


def open_storage(search: Search) -> RDBStorage:
    """Return the database of studies; a file that does not exist is a `UserError`, and is not made."""
    database = Artifacts.under(repository_root()).studies
    url = location(search, database)
    if not is_shared(url) and not Path(str(url.database)).exists():
        raise UserError(
            f"There are no studies yet: {url.database} does not exist.\n"
            "  the stage `search` makes it; run: dvc repro"
        )
    return connect(search, database)


def studies(search: Search) -> list[Overview]:
    """Return every study in the database, the one that was begun last first."""
    storage = open_storage(search)
    with _explained(search):
        found = optuna.get_all_study_summaries(storage)
        found.sort(key=lambda each: (each.datetime_start is not None, each.datetime_start), reverse=True)
        return [overview(optuna.load_study(study_name=each.study_name, storage=storage)) for each in found]


def study_named(name: str, search: Search) -> optuna.Study:
    """Return a study of the database. Raises `UserError` with the names that there are where it is none of
    them."""
    storage = open_storage(search)
    with _explained(search):
        names = sorted(optuna.get_all_study_names(storage))
        if name in names:
            return optuna.load_study(study_name=name, storage=storage)
    if not names:
        raise UserError(f"There is no study {name!r}, nor any other.\n  a search begins one; run: dvc repro")
    nearest = closest(name, names)
    near = f"  nearest: {nearest}\n" if nearest in names else ""
    raise UserError(f"There is no study {name!r}.\n{near}  all of them: {', '.join(names)}")


def overview(study: optuna.Study) -> Overview:
    trials = study.get_trials(deepcopy=False)
    counts = Counter(STATES[trial.state] for trial in trials)
    spent = [trial.duration.total_seconds() for trial in trials if trial.duration]
    best = best_trial(study)
    return Overview(
        name=study.study_name,
        goal=_goal(study),
        states={state: counts[state] for state in STATES.values() if counts[state]},
        best=best,
        corrected=_corrected(study, best),
        seconds=sum(spent),
        failures=_failures(trials),
    )


def _goal(study: optuna.Study) -> str:
    decisive = study.user_attrs.get(DECISIVE, {})
    return "fresh seeds" if "winners" in decisive else str(decisive.get("goal", "recipe"))


def _failures(trials: list[FrozenTrial]) -> dict[int, str]:
    failed = [trial for trial in trials if trial.state is TrialState.FAIL]
    last = failed[: -FAILURES - 1 : -1]
    return {trial.number: str(trial.user_attrs.get(REASON, "no reason given")) for trial in last}


def _corrected(study: optuna.Study, best: FrozenTrial | None) -> dict[str, float] | None:
    """Return what the stage wrote of the best trial when the study ended, if that is still there."""
    if not {CONFIG, OUTPUTS} <= study.user_attrs.keys():
        return None
    contender = OmegaConf.select(OmegaConf.create(study.user_attrs[CONFIG]), "contenders[0]")
    folder = Path(study.user_attrs[OUTPUTS]) / "search" / str(contender)
    if not (folder / COSTS).exists() or read_json(folder / COSTS).get("study") != study.study_name:
        return None
    selected = read_json(folder / RECIPE).get("selected") or {}
    # a depth curve selects among the winners of all depths, and not by what trials measured
    return selected.get("corrected") if best and selected.get("trial") == best.number else None


def resume(name: str, search: Search) -> Artifacts:
    """Run what the study `name` still lacks, by hand; return where its results are written.

    Raises `UserError` where the study cannot be gone on with, and says what differs from when it was begun.
    """
    study = study_named(name, search)
    config = configuration(study)
    if config is None:
        raise UserError(
            f"The study {name!r} does not say with which configuration it was begun.\n"
            "  run the search itself again: it goes on with its study"
        )
    config.search.storage = search.storage
    config.tracking.uri = _with_password(config.tracking.uri)
    artifacts = by_hand(study)
    from thawline.search.search import search as search_stage
    from thawline.search.trial.trials import Trials

    trials = Trials(config, artifacts)
    if name != trials.name and not name.startswith(f"{trials.name}-seeds-"):
        raise other_study(name, study.user_attrs.get(DECISIVE, {}), plain(trials.decisive))
    search_stage(config, artifacts)
    return artifacts


def _with_password(uri: str) -> str:
    """Return the address of the store of runs, which a study remembers without its password, as the
    repository's lock has it."""
    if PASSWORD not in uri:
        return uri
    lock = load_lock(repository_root()) if (repository_root() / LOCK).exists() else None
    whole = OmegaConf.select(lock, "tracking.uri") if lock is not None else None
    if whole is None or without_password(whole) != uri:
        raise UserError(
            f"The study recorded its runs in {uri}, but no study remembers a password.\n"
            f"  put the whole address into {LOCK}: tracking.uri"
        )
    return str(whole)


def export(name: str, file: Path, search: Search) -> int:
    """Write all trials of the study `name` to `file`, as CSV or JSON by its ending; return how many.

    Raises `UserError` for another ending, and for a file that cannot be written.
    """
    if file.suffix not in (".csv", ".json"):
        raise UserError(f"{file} has the ending {file.suffix!r}.\n  allowed: .csv, .json")
    study = study_named(name, search)
    with _explained(search):
        trials = [_told(trial) for trial in study.get_trials(deepcopy=False)]
    directions = [direction.name.lower() for direction in study.directions]
    if file.suffix == ".json":
        whole = {"study": name, "goal": _goal(study), "directions": directions, "trials": trials}
        text = json.dumps(whole, indent=2, ensure_ascii=False) + "\n"
    else:
        text = _table(trials, len(directions))
    try:
        write_text(file, text)
    except OSError as error:
        raise UserError(
            f"{file} cannot be written: {error.strerror or error}.\n  export to another place"
        ) from error
    return len(trials)


def _told(trial: FrozenTrial) -> dict[str, Any]:
    rest = {name: value for name, value in trial.user_attrs.items() if name not in (SIGN, REASON)}
    return {
        "number": trial.number,
        "state": STATES[trial.state],
        "values": trial.values,
        "reason": trial.user_attrs.get(REASON),
        "started": trial.datetime_start and trial.datetime_start.isoformat(timespec="seconds"),
        "finished": trial.datetime_complete and trial.datetime_complete.isoformat(timespec="seconds"),
        "seconds": trial.duration and trial.duration.total_seconds(),
        "params": trial.params,
        "attributes": rest,
    }


def _table(trials: list[dict[str, Any]], objectives: int) -> str:
    """Return a CSV with a row for each trial. The columns are those of `_told`, with `values`, `params` and
    `attributes` spread out under their own names."""
    named = ["value"] if objectives == 1 else [f"value_{index}" for index in range(objectives)]
    rows = [
        {key: value for key, value in trial.items() if key not in ("values", "params", "attributes")}
        | dict(zip(named, trial["values"] or (), strict=False))
        | trial["params"]
        | {f"attribute_{key}": _cell(value) for key, value in trial["attributes"].items()}
        for trial in trials
    ]
    first = ["number", "state", *named, "reason", "started", "finished", "seconds"]
    others = {name for row in rows for name in row} - set(first)
    columns = [*first, *sorted(others, key=lambda name: (name.startswith("attribute_"), name))]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list) else value


def _explained(search: Search) -> Any:
    return explained(location(search, Artifacts.under(repository_root()).studies))
