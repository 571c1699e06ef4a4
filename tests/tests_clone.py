"""A clone of this repository, used as a person uses it, and pictures to use it on."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import toy_pictures
from matplotlib import get_configdir
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]


class Clone:
    """A clone in a folder with a space in its name, on a machine without a git identity."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a clone"
        self.home = folder / "home"
        self.home.mkdir()
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in listed.stdout.splitlines():
            if (ROOT / name).is_file() and not name.startswith(("reports/", "dvc.lock")):
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, self.root / name)
        self.run("git", "init", "-q")
        self.run("git", "add", "-A")
        self.run("git", "-c", "user.name=A", "-c", "user.email=a@b", "commit", "-qm", "clone")
        self.run("sh", "tools/git_identity.sh")  # as `make` does

    def run(self, *command: str, check: bool = True) -> str:
        """Return what `command` says on standard output and error; fail where it does, unless not `check`."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout
        return done.stdout

    def environment(self) -> dict[str, str]:
        """Return that of a person without a git identity who has activated the virtual environment."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "GIT_"))}
        path = f"{Path(sys.executable).parent}:{kept['PATH']}"
        # finding all fonts of the machine takes matplotlib many seconds in a new home
        fonts = {"MPLCONFIGDIR": get_configdir()}
        return {**kept, **fonts, "PATH": path, "HOME": str(self.home), "OMP_NUM_THREADS": "1"}

    def read(self, name: str) -> dict:
        return json.loads((self.root / name).read_text())


def stages_in(output: str) -> list[str]:
    """List the stages that DVC says it runs."""
    lines = [line for line in output.splitlines() if line.startswith("Running stage ") and "'" in line]
    return [line.split("'")[1] for line in lines]


def save_pictures(root: Path, per_class: int, seed: int) -> None:
    images, labels = toy_pictures(per_class, seed)
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        (root / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / label / f"{index}.png")
