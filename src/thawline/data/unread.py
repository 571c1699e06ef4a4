"""What classes have beside their pictures: files of kinds that are not read, or an empty folder."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from thawline.config.choices import Layout
from thawline.data.files import Files
from thawline.data.layout import read
from thawline.data.losses import Losses
from thawline.data.names import class_name, shown

_KINDS = frozenset(
    (".jp2", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".dcm", ".psd", ".tga")
    + (".ppm", ".pgm", ".pnm", ".exr", ".hdr", ".ico", ".svg")
)
"""Suffixes of pictures, as far as they are not read, too."""


def find_losses(
    files: Files, pictures: Sequence[str], above: str, layout: Layout, labels: set[str]
) -> Losses:
    """Return what classes have beside the `pictures` among `files`, which lie in the folder `above`.

    labels: the classes with pictures; others that have a folder have losses, too, perhaps of nothing.
    """
    names = [name.removeprefix(above) for name in pictures]
    unread = {name.removeprefix(above): kind_of(name) for name in _unread(files.read, pictures)}
    empty = [f"{folder.removeprefix(above)}/?" for folder in folders_without_pictures(files, pictures)]
    places = read([*names, *unread, *empty], layout).places
    label_of = {name: class_name(places[name][0]) for name in (*unread, *empty) if name in places}
    named = {label_of[name] for name in empty if name in label_of and layout is not Layout.file_names}
    nothing = Losses({label: Counter() for label in sorted(named - labels)})
    lost = [(label_of[name], kind) for name, kind in unread.items() if name in label_of]
    return nothing.plus((label, f"of a kind that is not read, {kind}") for label, kind in lost)


def folders_without_pictures(files: Files, pictures: Sequence[str]) -> list[str]:
    """Return the outermost folders without a picture that were to have some: they are empty, or their files
    are pictures of a kind that is not read. Others, of texts for instance, are no classes."""
    pictured = {parent for name in pictures for parent in _parents(name)} | {""}
    bare = sorted(folder for folder in files.folders if folder not in pictured)
    inside: dict[str, list[str]] = {folder: [] for folder in bare if folder.rpartition("/")[0] in pictured}
    for name in files.read:
        for folder in inside.keys() & _parents(name):
            inside[folder].append(name)
    return [folder for folder, found in inside.items() if not found or _unread(found, pictures)]


def kind_of(name: str) -> str:
    """Return the end of a file's name that says what it holds, in lower case."""
    return PurePosixPath(shown(name)).suffix.lower() or "no extension"


def _unread(names: Iterable[str], pictures: Sequence[str]) -> list[str]:
    return [name for name in sorted(set(names).difference(pictures)) if kind_of(name) in _KINDS]


def _parents(name: str) -> set[str]:
    parts = name.split("/")
    return {"/".join(parts[:depth]) for depth in range(1, len(parts))}
