"""Data sets that torchvision knows how to fetch and read, with their own splits."""

from collections.abc import Callable
from typing import Any
from urllib.error import URLError

from PIL import Image

from thawline.config.composition import located
from thawline.config.errors import UserError
from thawline.config.sections import DataSet
from thawline.data.collection import Collection, Item

Arguments = dict[str, Any]


def collector(class_name: str, splits: dict[str, Arguments]) -> Callable[[DataSet, int], Collection]:
    """Return the `collect` of a data set of torchvision.

    class_name: torchvision's class. splits: its arguments for each split it has; one named "" where it
    has none. `collect` raises `UserError` when the files are not under `root`, or the download fails.
    """

    def collect(data: DataSet, seed: int) -> Collection:  # noqa: ARG001
        import torchvision

        build = getattr(torchvision.datasets, class_name)
        parts = {split: _built(build, data, arguments) for split, arguments in splits.items()}
        items, places = [], []
        for split, part in parts.items():
            # Flowers102 and others keep the labels under a private name only.
            labels = part.targets if hasattr(part, "targets") else part._labels
            for index, label in enumerate(labels):
                items.append(Item(f"{split or class_name}/{index:06d}", part.classes[label], split))
                places.append((part, index))

        def open_picture(position: int) -> Image.Image:
            part, index = places[position]
            return part[index][0]

        return Collection(tuple(items), open_picture)

    return collect


def _built(build: Callable[..., Any], data: DataSet, arguments: Arguments) -> Any:
    path = located(str(data.root))
    try:
        return build(path, download=data.download, **arguments)
    except (OSError, RuntimeError, ValueError, URLError) as error:
        raise UserError(
            f"{build.__name__} cannot be read from {path}: {error}\n"
            "  Set download=true where there is a network, or put the files torchvision fetches there."
        ) from None
