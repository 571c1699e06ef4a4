"""The data sets that torchvision knows how to fetch and read, with their own splits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

from PIL import Image

from thawline.config.errors import UserError
from thawline.config.sections import DataSetName, Role
from thawline.data.collection import Collection, Item

Arguments = dict[str, Any]
BUILDERS: dict[DataSetName, tuple[str, dict[str, Arguments]]] = {
    DataSetName.cifar10: ("CIFAR10", {"train": {"train": True}, "test": {"train": False}}),
    DataSetName.cifar100: ("CIFAR100", {"train": {"train": True}, "test": {"train": False}}),
    DataSetName.flowers102: ("Flowers102", {name: {"split": name} for name in ("train", "val", "test")}),
    DataSetName.oxford_iiit_pet: (
        "OxfordIIITPet",
        {"train": {"split": "trainval"}, "test": {"split": "test"}},
    ),
    DataSetName.food101: ("Food101", {"train": {"split": "train"}, "test": {"split": "test"}}),
    DataSetName.eurosat: ("EuroSAT", {"": {}}),
    DataSetName.dtd: ("DTD", {name: {"split": name} for name in ("train", "val", "test")}),
}
"""For each name: torchvision's class, and its arguments for each split it has ("" where it has none)."""


def collect(dataset: DataSetName, root: str, download: bool, role: Role) -> Collection:
    """The pictures of all splits the role has a use for; a source has none for a test split.

    Raises `UserError` when they are not under `root`, or the download fails.
    """
    import torchvision

    class_name, splits = BUILDERS[dataset]
    build = getattr(torchvision.datasets, class_name)
    wanted = {name: arguments for name, arguments in splits.items() if role is Role.target or name != "test"}
    parts = {name: _built(build, root, download, arguments) for name, arguments in wanted.items()}
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


def _built(build: Callable[..., Any], root: str, download: bool, arguments: Arguments) -> Any:
    path = Path(root).expanduser()
    try:
        return build(path, download=download, **arguments)
    except (OSError, RuntimeError, ValueError, URLError) as error:
        raise UserError(
            f"{build.__name__} cannot be read from {path}: {error}\n"
            "  Set download=true where there is a network, or put the files torchvision fetches there."
        ) from None
