"""The linear probe's whole search and its three fine-tunings beside an older checkout's: docs/benchmarks.md.

    git worktree add --detach ../before 0906e08
    python benchmarks/probe.py --before ../before --rounds 3
    python benchmarks/probe.py --before ../before --rounds 2 --pictures FOLDER

On the embedded digits from the source pretrained on glyphs; with `--pictures`, on those of a folder from the
ImageNet weights of EfficientNet-Lite0 at 224 pixels. The stages before run once in a clone of each checkout
below scratch/probe. Timed are the two stages that fine-tune, with what their processes take to start; what
they left behind a round ago is removed. Nothing else may run beside.
"""

import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from command import arguments
from pages import ROOT
from rivals import weights
from safetensors.torch import save_file

from thawline.config.overrides import override

TIMED = ("search", "finetune")
log = logging.getLogger("probe")


def settings(pictures: Path | None, folder: Path) -> list[str]:
    """Return what both builds are told: nothing for the embedded digits."""
    if pictures is None:
        return []
    path = folder / "lite0.safetensors"
    save_file({name: each.contiguous() for name, each in weights().items()}, path)
    return [
        *("target=image_folder", override("target.root", str(pictures.resolve()))),
        *("source=weights", override("source.weights", str(path))),
        *(override("model.architecture", "timm:tf_efficientnet_lite0"), "input.size=224", "input.resize=256"),
        *("input.mean=[0.5,0.5,0.5]", "input.std=[0.5,0.5,0.5]"),
    ]


def clone(checkout: Path, to: Path) -> Path:
    """Return a fresh clone of what `checkout` has checked out."""
    shutil.rmtree(to, ignore_errors=True)
    head = subprocess.check_output(["git", "-C", str(checkout), "rev-parse", "HEAD"], text=True).strip()
    subprocess.run(["git", "clone", "-q", str(ROOT), str(to)], check=True)
    subprocess.run(["git", "-C", str(to), "checkout", "-q", head], check=True)
    return to


def run(checkout: Path, *command: str) -> float:
    """Run a command in a checkout. Returns its seconds; raises SystemExit with its last words."""
    started, environment = time.monotonic(), {**os.environ, "PYTHONPATH": "src"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"error: {' '.join(command)} in {checkout}\n{(ended.stdout + ended.stderr)[-3000:]}")
    return time.monotonic() - started


def prepare(checkout: Path, told: Sequence[str]) -> None:
    """Run everything before the search with these settings, which are then in params.yaml."""
    last = "plan" if (checkout / "pipelines" / "plan.py").exists() else "replace_head"
    changed = [word for each in told for word in ("-S", each)]
    run(checkout, "dvc", *(("exp", "run", *changed) if told else ("repro",)), last)


def stage(name: str, checkout: Path) -> float:
    """Return the seconds of a stage as DVC runs it, but for the linear probe alone."""
    many = "contenders:" in (checkout / "params.yaml").read_text(encoding="utf-8")
    alone = "contenders=[linear_probe]" if many else "contender=linear_probe"
    return run(checkout, sys.executable, f"pipelines/{name}.py", "-cd", ".", "-cn", "params", alone)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--before", type=Path, required=True, help="an older checkout")
    parser.add_argument("--pictures", type=Path, help="a folder with CLASS/FILE or {train,test}/CLASS/FILE")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    folder = ROOT / "scratch" / "probe"
    folder.mkdir(parents=True, exist_ok=True)
    told = settings(chosen.pictures, folder)
    builds = {"before": clone(chosen.before, folder / "before"), "now": clone(ROOT, folder / "now")}
    for checkout in builds.values():
        prepare(checkout, told)
    ratios = []
    for _ in range(chosen.rounds):
        took = {}
        for build, checkout in builds.items():
            shutil.rmtree(checkout / "scratch", ignore_errors=True)
            took[build] = [stage(name, checkout) for name in TIMED]
            parts = ", ".join(f"{name} {each:.1f}" for name, each in zip(TIMED, took[build], strict=True))
            log.info("%s: %.1f s (%s)", build, sum(took[build]), parts)
        ratios.append(sum(took["before"]) / sum(took["now"]))
    log.info("%.2f times as fast (%.2f to %.2f)", median(ratios), min(ratios), max(ratios))


if __name__ == "__main__":
    main()
