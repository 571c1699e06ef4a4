"""Thumbnails and what is known of them, as the stages that may see the pictures left both."""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thawline.artifacts import read_json

Entry = Mapping[str, Any]
"""One picture as a stage describes it."""


@dataclass(frozen=True)
class Thumbnails:
    """What a stage wrote of pictures, and the folder of its thumbnails; nothing where it left none."""

    told: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path()

    def source(self, name: str | None) -> str | None:
        """Return a picture's content as an address that needs no file; None where there is no picture."""
        if name is None:
            return None
        content = (self.folder / name).read_bytes()
        return f"data:image/webp;base64,{base64.b64encode(content).decode('ascii')}"

    def shown(self, entries: Iterable[Entry], *said: str) -> list[dict[str, Any]]:
        """Return the pictures with their addresses (`src`, `map`), names and captions.

        said: what stands below a picture, formatted with the fields of its entry.
        """
        return [
            {
                "src": self.source(entry["thumbnail"]),
                "map": self.source(entry.get("map")),
                "path": entry["path"],
                "said": [text for each in said if (text := each.format_map(entry))],
            }
            for entry in entries
        ]


def read_thumbnails(told: Path, folder: Path) -> Thumbnails:
    """Read the file `told`, whose thumbnails lie in `folder`; nothing where there is no such file, as earlier
    versions left none."""
    return Thumbnails(read_json(told), folder) if told.exists() else Thumbnails()
