"""The bundle in MLflow's registry."""

import base64
import io
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from thawline import tracking
from thawline.artifacts import fingerprint
from thawline.config.sections import Config
from thawline.data.recorded import learned_from
from thawline.data.store import Store
from thawline.identity import code_identity
from thawline.models.card import ModelCard
from thawline.serving import served

PACKAGES = (
    *("filelock", "numpy", "omegaconf", "pillow", "pillow-heif", "pyyaml", "safetensors"),
    *("timm", "torch", "torchvision"),
)
"""What answering imports."""


def register(config: Config, bundle: Path, card: ModelCard, store: Store, root: Path) -> None:
    """Log the bundle, whose `card` is that in its folder, to a run of its own and make it the next version of
    `export.registered_model`.

    Done again with the same weights, settings and code, it finds its run and its version.
    """
    tracking.connect(config.tracking.uri, config.tracking.experiment, root)
    tracking.reconcile()
    example = _gray(card.transform.size)
    tags = {
        "architecture": card.architecture,
        "seed": card.notes["seed"],
        "data_fingerprint": store.fingerprint,
    }
    # the card holds how it answers, and the hashes of weights and features
    same = fingerprint([card.to_dict(), code_identity(served.__name__)])
    opened = tracking.run(
        "export",
        stage="export",
        parameters=card.notes,
        tags=tags,
        once=f"export-{same}",
        data=learned_from(config.target, store),
    )
    with (
        opened as run,
        TemporaryDirectory() as temporary,
    ):
        folder = Path(temporary, "bundle")
        folder.mkdir()
        for path in bundle.iterdir():
            if path.is_file():  # and not another format
                shutil.copyfile(path, folder / path.name)
        (answer,) = served.Served(folder).predict([example])
        model = tracking.Loadable(folder, same, served.__name__, PACKAGES, example, answer, card.classes)
        version = tracking.register(run, config.export.registered_model, model)
        if version is not None:
            run.log_tags({"registered_model": f"{config.export.registered_model} {version}"})


def _gray(size: int) -> str:
    """Return a picture that shows nobody, from black to white, as a PNG in base64."""
    shades = np.linspace(0, 255, size).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(np.broadcast_to(shades, (size, size)).copy()).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
