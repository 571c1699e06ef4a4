"""docs/security.md names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_every_guard_has_the_test_that_is_named() -> None:
    named, file = 0, ""
    text = (ROOT / "docs/security.md").read_text()
    for path, test in re.findall(r"`(tests/[\w/]+\.py|…)(?:::(\w+))?`", text):
        file = file if path == "…" else path
        content = (ROOT / file).read_text()
        assert not test or f"\ndef {test}(" in content, f"{file} has no test {test}"
        named += 1
    assert named > 25
