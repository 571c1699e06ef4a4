"""The bundle as MLflow loads it: `mlflow.pyfunc.load_model(...)` finds `_load_pyfunc` by this module's name.

MLflow is not imported: it calls. What it gives are texts, the paths of files or files themselves in base64.
"""

import base64
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from thawline.serving.output import entry
from thawline.serving.predict import card_of, network_of, predict

SERVER = "_MLFLOW_IS_IN_SERVING_ENVIRONMENT"
"""Environment variable that MLflow sets where it answers the requests of others."""


class Served:
    """A bundle that labels pictures given as texts."""

    def __init__(self, folder: Path) -> None:
        self._network, self._card = network_of(folder), card_of(folder)

    def predict(self, pictures: Any, params: dict[str, Any] | None = None) -> list[dict[str, object]]:  # noqa: ARG002
        """Return for each text what `thawline predict --json` says, but for the path.

        pictures: a sequence of texts, or a data frame whose first column they are. Each is the path of a
        file, or the bytes of one in base64; in a server only the latter, because whoever asks it may not be
        meant to read files there. What is neither gets an `error`.
        """
        texts = pictures.iloc[:, 0] if hasattr(pictures, "iloc") else pictures
        with TemporaryDirectory() as folder:
            files = [self._file(str(text), Path(folder, str(number))) for number, text in enumerate(texts)]
            said = predict(lambda: self._network, self._card, [file for file in files if file])
            found = [entry(next(said)) if file else {"error": _neither()} for file in files]
        return [{key: value for key, value in each.items() if not key.startswith("path")} for each in found]

    @staticmethod
    def _file(text: str, place: Path) -> Path | None:
        # not of `Path`: that raises where a text cannot be a path
        if SERVER not in os.environ and os.path.isfile(text):  # noqa: PTH113
            return Path(text)
        try:
            # in lines, as many programs write it
            place.write_bytes(base64.b64decode("".join(text.split()), validate=True))
        except ValueError:
            return None
        return place


def _neither() -> str:
    why = "a server opens no files" if SERVER in os.environ else "there is no file of this name"
    return f"cannot be read as a picture: this is not base64, and {why}"


def _load_pyfunc(folder: str) -> Served:
    return Served(Path(folder))
