"""The decision: source.json, which every later stage obeys, and nothing that takes long to load."""

from pathlib import Path

from thawline.artifacts import SOURCE, SOURCES, Artifacts, file_hash, read_json, write_json, write_text
from thawline.config.candidates import Candidate, names
from thawline.config.errors import UserError
from thawline.config.sections import Config
from thawline.config.weight_files import is_weight_file
from thawline.plan.decisions import Decisions, applied

COLUMNS = (
    *("source", "chosen", "alike", "pictures", "accuracy", "minus_best", "low", "high"),
    *("neighbours", "neighbours_minus_best", "neighbours_low", "neighbours_high"),
    *("log_me", "h_score", "leep", "operations", "pixels", "seconds"),
)
"""Of sources.csv (docs/choosing_sources.md says what each is)."""


def write_choice(artifacts: Artifacts, candidate: int, name: str, origin: str) -> None:
    """Write source.json: the chosen candidate's place in `source.candidates` and its name there, without a
    folder. `origin` says which weights these were, so that other ones under the same name are another choice.
    Equal choices give equal bytes."""
    found = {"candidate": candidate, "name": name, "origin": origin}
    write_json(artifacts.stage_output("choose_source") / SOURCE, found)


def write_only(config: Config, artifacts: Artifacts) -> None:
    """Write the decision where there is nothing to choose: the one candidate, or what is configured; and a
    table without rows."""
    candidates = config.source.candidates
    if candidates:
        write_choice(artifacts, 0, names(candidates)[0], _origin(candidates[0]))
    else:
        write_json(artifacts.stage_output("choose_source") / SOURCE, {})
    write_text(artifacts.reports / SOURCES, ",".join(COLUMNS) + "\n")


def _origin(candidate: str) -> str:
    """Say which weights those of a file are; published ones are what their name says."""
    weights = Candidate.of(candidate).weights
    return f"SHA-256 {file_hash(Path(weights))}" if is_weight_file(weights) else ""


def with_candidate(config: Config, position: int) -> Config:
    """Return `config` with a candidate as the source, as if it had been configured."""
    one = Candidate.of(config.source.candidates[position])
    found = {"source.weights": one.weights, "model.architecture": one.architecture}
    return applied(config, Decisions(settings=found))


def with_chosen_source(config: Config, artifacts: Artifacts) -> Config:
    """Return the configuration that stages after `choose_source` obey: as it is where there are no
    candidates.

    Raises `UserError` where nothing is chosen yet, or among other candidates.
    """
    if not config.source.candidates:
        return config
    path = artifacts.stage("choose_source") / SOURCE
    found = read_json(path)
    named = names(config.source.candidates)
    if found.get("name") not in named[found.get("candidate", len(named)) :][:1]:
        raise UserError(
            f"{path} is not of these source.candidates: {', '.join(named)}.\n  choose again: dvc repro"
        )
    return with_candidate(config, found["candidate"])
