"""`python -m thawline.code` (stage `code`): write what the code of each script of pipelines/ is.

A stage depends on this, not on the source files: a comment reruns nothing, and DVC's lock, which DVC reads
and writes again with every stage, stays short.
"""

from pathlib import Path

from thawline.artifacts import Artifacts, write_json
from thawline.identity import script_identity

WITHOUT_METHODS = ("choose_source", "prepare", "pretrain", "replace_head", "supervise")
"""Scripts before the first recipe: a method of fine-tuning changes nothing they make."""


def write_identities(root: Path) -> None:
    """Write the identity of the code of every script below `root`, one file each."""
    package = root / "src" / "thawline"
    for script in sorted((root / "pipelines").glob("*.py")):
        identity = script_identity(script, methods=script.stem not in WITHOUT_METHODS, package=package)
        write_json(Artifacts.under(root).code(script.stem), {"code": identity})


if __name__ == "__main__":
    write_identities(Path.cwd())
