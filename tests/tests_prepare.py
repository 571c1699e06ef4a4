"""Pictures as the stage `prepare` leaves them."""

import json
from pathlib import Path

from thawline.artifacts import Artifacts
from thawline.config.sections import Config, DataSetName, Input, Role, Source, Target
from thawline.data.prepare import prepare
from thawline.models.preprocessing import transform_for


def prepared(
    folder: Path | str, role: Role = Role.target, *, seed: int = 0, size: int = 16, **fields
) -> Artifacts:
    """Prepare the pictures in `fields["root"]`, or the embedded ones, below `folder`."""
    fields.setdefault("dataset", DataSetName.image_folder)
    section = {role.name: (Source if role is Role.source else Target)(**fields)}
    config = Config(seed=seed, role=role, input=Input(size=size), **section)
    artifacts = Artifacts.under(Path(folder))
    prepare(config, transform_for, artifacts)
    return artifacts


def card(artifacts: Artifacts, name: str) -> dict:
    return json.loads((artifacts.data_output(name) / "card.json").read_text())
