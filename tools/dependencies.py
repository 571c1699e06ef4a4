"""Write into dvc.yaml the modules that each stage's script imports: python tools/dependencies.py"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = re.compile(r"^(?P<indent> +)- (?P<script>pipelines/\w+\.py)$")
MODULE = re.compile(r"^ +- src/thawline/(?!report/templates)\S+$")
WITHOUT_METHODS = ("prepare", "pretrain", "replace_head")
"""Scripts before the first recipe: a method of fine-tuning changes nothing they make."""


def with_dependencies(text: str) -> str:
    """Return the text of dvc.yaml with the imported modules below each script among the dependencies."""
    sys.path.insert(0, str(ROOT / "src"))
    from thawline.identity import BY_NAME, files

    package, lines = ROOT / "src" / "thawline", []
    folders = {package.joinpath(*name.split(".")[1:]) for name in BY_NAME.values()}
    for line in text.splitlines():
        if MODULE.match(line):
            continue
        lines.append(line)
        if found := SCRIPT.match(line):
            script = ROOT / found["script"]
            used = files(script, methods=script.stem not in WITHOUT_METHODS, package=package)
            # a folder of which all is imported by name stands for its modules, those to come as well
            whole = [folder for folder in folders if set(folder.rglob("*.py")) - _empty(folder) <= set(used)]
            paths = {next((each for each in whole if each in path.parents), path) for path in used}
            lines += [f"{found['indent']}- {path.relative_to(ROOT).as_posix()}" for path in sorted(paths)]
    return "\n".join(lines) + "\n"


def _empty(folder: Path) -> set[Path]:
    """Return the files in `folder` without code, which are no dependencies."""
    return set(folder.rglob("__init__.py"))


if __name__ == "__main__":
    pipeline = ROOT / "dvc.yaml"
    pipeline.write_text(with_dependencies(pipeline.read_text()))
