"""Write into dvc.yaml the modules that each stage's script imports: python tools/dependencies.py"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = re.compile(r"^(?P<indent> +)- (?P<script>pipelines/\w+\.py)$")
MODULE = re.compile(r"^ +- src/thawline/\S+\.py$")


def with_dependencies(text: str) -> str:
    """Return the text of dvc.yaml with the imported modules below each script among the dependencies."""
    sys.path.insert(0, str(ROOT / "src"))
    from thawline.identity import files

    lines = []
    for line in text.splitlines():
        if MODULE.match(line):
            continue
        lines.append(line)
        if found := SCRIPT.match(line):
            paths = files(ROOT / found["script"], package=ROOT / "src" / "thawline")
            lines += [f"{found['indent']}- {path.relative_to(ROOT).as_posix()}" for path in paths]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    pipeline = ROOT / "dvc.yaml"
    pipeline.write_text(with_dependencies(pipeline.read_text()))
