"""Every path of the pipeline, named once, and the only way files are written: atomically."""

import csv
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from filelock import FileLock, Timeout

from thawline.config.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


def pipeline_root() -> Path:
    """Return the checkout to work in: this folder, else the one this package was installed from."""
    for root in (Path.cwd(), Path(__file__).resolve().parents[2]):
        if (root / "dvc.yaml").exists():
            return root
    raise UserError("there is no dvc.yaml here.\n  run this command in a clone of thawline")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; on success flush it to disk and let it take the name
    `path`, on any failure remove it and leave the old `path` as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's bytes."""
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def write_text(path: Path, text: str) -> None:
    """Write `text` in UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` with sorted keys and a fixed layout, so that equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def write_table(path: Path, table: "pd.DataFrame", float_format: str | None = None) -> None:
    """Write `table` without its index as CSV in UTF-8, with the same ends of lines on every system.

    float_format: as in printf; None writes the shortest text that reads as the same number.
    """

    def write(quoting: Literal[0, 2]) -> None:
        table.to_csv(
            temporary,
            index=False,
            float_format=float_format,
            lineterminator="\n",
            encoding="utf-8",
            quoting=quoting,
        )

    with atomic_path(path) as temporary:
        write(csv.QUOTE_MINIMAL)
        with temporary.open("rb") as written:
            returns = any(b"\r" in line for line in written)
        if returns:
            # in a name: it ends a line for whoever reads it without quotes, and was given none
            write(csv.QUOTE_NONNUMERIC)


def read_json(path: Path) -> Any:
    """Parse the file; a missing or damaged one is a `UserError` that says which stage makes it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise missing(path) from None
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}).\n  {how_to_restore(path)}") from None


def missing(path: Path) -> UserError:
    """Make the error of a file that an earlier stage should have left."""
    made = "It is made by the pipeline; run: dvc repro" if _is_made_here(path) else how_to_restore(path)
    return UserError(f"{path} does not exist.\n  {made}")


def how_to_restore(path: Path) -> str:
    """Return how a damaged file is had again: what was kept elsewhere, the pipeline does not make."""
    if _is_made_here(path):
        return "Delete it and run: dvc repro"
    return f"Copy the whole folder {path.parent} once more from where it was made: its files belong together."


def _is_made_here(path: Path) -> bool:
    return not {"artifacts", "reports", "scratch"}.isdisjoint(path.parts)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold `path` (a lock file) for the length of the block, waiting for whoever holds it: two
    experiments may want the same study or training at once, and would spoil each other's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("waiting for another process that works on the same (%s is held)", path.name)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def file_hash(path: Path) -> str:
    """Return the SHA-256 of the file's bytes, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def fingerprint(value: Any) -> str:
    """Return the SHA-256 of a JSON-like value, independent of key order, in hexadecimal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Artifacts:
    """Paths below `root`, the folder that holds dvc.yaml.

    Stages read from and write to `artifacts/`. Called by hand, a stage writes below a folder of
    `scratch/` instead (`outputs`) and reads what an earlier stage left there, else from `artifacts/`;
    so DVC's files stay as DVC made them.
    """

    root: Path
    outputs: Path
    reports: Path

    @classmethod
    def under(cls, root: Path, scratch: str | None = None) -> "Artifacts":
        """Name the paths below `root`; with `scratch`, outputs go to that folder of `scratch/`."""
        if scratch is None:
            return cls(root, root / "artifacts", root / "reports")
        return cls(root, root / "scratch" / scratch, root / "scratch" / scratch / "reports")

    @property
    def by_hand(self) -> bool:
        """True where stages write below scratch/ and not where DVC looks for their outputs."""
        return self.outputs != self.root / "artifacts"

    def find(self, relative: str) -> Path:
        """Return where to read an artifact from."""
        own = self.outputs / relative
        return own if own.exists() else self.root / "artifacts" / relative

    def data(self, name: str) -> Path:
        """Return the folder of `source`, `target` (train and validation) or `test` (the target's test split),
        written by `thawline.data.store`."""
        return self.find(f"prepare/{name}")

    def data_output(self, name: str) -> Path:
        """Return the folder that `data(name)` is written to."""
        return self.outputs / "prepare" / name

    def stage(self, *names: str) -> Path:
        """Return the folder a stage reads from, e.g. `stage("search", "finetuned")`."""
        return self.find("/".join(names))

    def stage_output(self, *names: str) -> Path:
        """Return the folder a stage writes to."""
        return self.outputs.joinpath(*names)

    @property
    def unfinished(self) -> Path:
        """The folder from which an interrupted stage goes on: outside DVC's outputs, which DVC deletes before
        a stage runs, and in the real repository where DVC runs an experiment in a temporary copy."""
        return Path(os.environ.get("DVC_ROOT") or self.root) / "scratch"

    @property
    def checkpoints(self) -> Path:
        """Interrupted trainings."""
        return self.unfinished / "checkpoints"

    @property
    def studies(self) -> Path:
        """Optuna's database of studies."""
        return self.unfinished / "studies.db"

    @property
    def outcomes(self) -> Path:
        """Every trial's probabilities on the validation pictures, and models worth keeping."""
        return self.unfinished / "outcomes"

    @property
    def clock(self) -> Path:
        """The time used since everything began (`thawline.clock`)."""
        return self.unfinished / "clock.json"

    @property
    def prefix(self) -> Path:
        """Stored features: the outputs of frozen units."""
        return self.unfinished / "prefix"

    def code(self, script: str) -> Path:
        """What the code of a script of pipelines/ is (its name, without suffix)."""
        return self.outputs / "code" / f"{script}.json"

    @property
    def params_checked(self) -> Path:
        """The mark that params.yaml was found to say what conf/ says."""
        return self.outputs / "params" / "checked.json"


MODEL, CARD = "model.safetensors", "card.json"
FEATURES = "features.safetensors"
HISTORY, COSTS = "history.csv", "costs.json"
RECIPE, TRIALS = "recipe.json", "trials.csv"
LEFT_OUT = "left_out.npz"
BEFORE_REWARD = "before_reward"
METRICS = "metrics.json"
PLAN, FORECAST, STOPPED = "plan.json", "forecast.json", "stopped.json"
EVIDENCE = "evidence"
DEPTH_CURVE, RECOMMENDATION = "depth_curve.csv", "recommendation.json"
SUPERVISE, TARGETS, VOTES = "supervise.json", "targets.npy", "votes.json"
TOLD, TAUGHT, COORDINATES = "told", "pictures", "coordinates.npy"
PARETO = "pareto.csv"
CUTS = "cuts.csv"
PICTURES, MISTAKES, REVIEW = "pictures.json", "mistakes.json", "review.json"
PAGE, LABELS = "index.html", "labels.csv"
STRATEGY = "strategy.json"
SOURCE, SOURCES = "source.json", "sources.csv"


def seed_weights(seed: int) -> str:
    """Name the file of the fine-tuned weights of one seed."""
    return f"seed_{seed}.safetensors"


def depth_name(depth: int) -> str:
    """Name the folder of one depth."""
    return f"depth_{depth}"


def depth_models(evidence: Path, depth: int) -> Path:
    """Return the folder with the models of one depth in a folder of evidence."""
    return evidence / "models" / depth_name(depth)


def card_beside(weights: Path) -> Path:
    """Return the card of weights that share it with no others."""
    return weights.with_name(f"card_{weights.stem}.json")
