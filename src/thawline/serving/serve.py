"""The command `thawline serve`: MLflow's server on the registered model."""

from pathlib import Path

from thawline import tracking
from thawline.config.composition import compose, flatten, load_lock, to_config
from thawline.config.overrides import override, shell_line
from thawline.config.sections import Config, ExportFormat


def serve(root: Path, host: str, port: int) -> int:
    """Answer requests with the newest version of the model that the checkout at `root` registers, until the
    server is ended; return its exit status. Raises `UserError` where there is none, or nobody can listen."""
    config = to_config(load_lock(root))
    name = config.export.registered_model
    return tracking.serve(config.tracking.uri, root, name, host, port, registering(config, root))


def registering(config: Config, root: Path) -> str:
    """Return the command that registers the model of the pipeline as it stands: it trains nothing that is
    trained already."""
    if ExportFormat.mlflow in config.export.formats:
        return "dvc repro -f -s export"
    # an experiment begins at conf/, and what else params.yaml says has to be said again
    there = flatten(compose(root, []))
    lock = flatten(load_lock(root))
    lock["export.formats"] = [each.name for each in (*config.export.formats, ExportFormat.mlflow)]
    # an entry that conf/ does not have, such as a builder's option, has to be added
    changed = (
        override(name if name in there else f"+{name}", value)
        for name, value in lock.items()
        if value != there.get(name) and not name.endswith("watch")  # which follow from others
    )
    return shell_line(["dvc", "exp", "run", *(word for each in changed for word in ("-S", each))])
