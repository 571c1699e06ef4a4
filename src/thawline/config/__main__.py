"""`python -m thawline.config --check` (the first stage) and `--write` (rewrite the lock)."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from thawline.config.choices import EMBEDDED
from thawline.config.composition import (
    compose,
    differences,
    load_lock,
    lock_text,
    require_watched,
    require_whole,
    to_config,
)
from thawline.config.errors import ConfigError, UserError
from thawline.config.recipe.contenders import require_finetuned
from thawline.config.sections import Config


def check(root: Path) -> None:
    """Check types and ranges of params.yaml; where conf/ was changed since it was committed, outside
    experiments, also that the two agree.

    With conf/ as it was committed, other values are those of an experiment that was applied and perhaps
    committed: they are what a reproduction has to obey.
    """
    lock = load_lock(root)
    require_whole(lock, root)
    config = to_config(lock)
    require_finetuned(config.contenders)
    require_watched(config, root)
    _warn_of_poor_start(config)
    if "DVC_EXP_NAME" in os.environ or "DVC_EXP_BASELINE_REV" in os.environ:
        return
    found = differences(lock, compose(root, []))
    if found and _as_committed(root / "conf"):
        names = ", ".join(each.partition(":")[0] for each in found)
        sys.stderr.write(
            f"params.yaml has other values than conf/, of an experiment or set by hand: {names}\n"
            "  to go back to conf/:  python -m thawline.config --write\n"
        )
    elif found:
        raise ConfigError(
            "params.yaml does not say what conf/ says:\n  "
            + "\n  ".join(found)
            + "\n  to keep conf/:  python -m thawline.config --write"
            + "\n  to try values:  dvc exp run -S NAME=VALUE"
        )


def _as_committed(folder: Path) -> bool:
    """Tell whether `folder` is in git and as it was committed."""
    command = ["git", "--no-optional-locks", "-C", str(folder), "status", "--porcelain", "--", "."]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    return not done.stdout.strip()


def _warn_of_poor_start(config: Config) -> None:
    """Say so where photographs are to be learnt from letters; ImageNet weights take no longer."""
    source, target = config.source.dataset, config.target.dataset
    if source and target and source.name in EMBEDDED and target.name not in EMBEDDED:
        sys.stderr.write(
            "warning: the source model is pretrained on drawn letters, a poor start for photographs.\n"
            "  start from ImageNet weights: -S source=imagenet\n"
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m thawline.config", description=__doc__)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--check", action="store_true", help="check params.yaml")
    action.add_argument("--write", action="store_true", help="rewrite params.yaml from conf/")
    parser.add_argument("overrides", nargs="*", help="Hydra overrides, with --write")
    arguments = parser.parse_args()
    root = Path.cwd()
    try:
        if arguments.check:
            from thawline.artifacts import Artifacts, write_json

            check(root)
            # constant content: later stages depend on the check having passed, not on what changed
            write_json(Artifacts.under(root).params_checked, {"checked": True})
        else:
            from thawline.artifacts import write_text

            text = lock_text(root, arguments.overrides)
            write_text(root / "params.yaml", text)
    except UserError as error:
        sys.exit(f"error: {error}")


main()
