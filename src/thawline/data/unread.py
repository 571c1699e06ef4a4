"""What classes have beside their pictures: files that are not read, or an empty folder."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath

from thawline.config.choices import Layout
from thawline.data.files import Files
from thawline.data.layout import read
from thawline.data.losses import Losses
from thawline.data.picture_files import EXTENSIONS, RAW

_UNREAD = frozenset(RAW) | {
    *(".jp2", ".jxl", ".dcm", ".psd", ".tga", ".ppm", ".pgm", ".pnm", ".exr", ".hdr", ".ico", ".svg")
}
"""Suffixes of pictures that are not read."""


def find_losses(
    files: Files, pictures: Sequence[str], above: str, layout: Layout, labels: set[str]
) -> Losses:
    """Return what classes have beside the `pictures` among `files`, which lie in the folder `above`.

    labels: the classes with pictures; others that have a folder have losses, too, perhaps of nothing.
    """
    names = [name.removeprefix(above) for name in pictures]
    lost = [(name.removeprefix(above), why) for name, why in _lost(files, pictures) if name.startswith(above)]
    empty = [f"{folder.removeprefix(above)}/?" for folder in folders_without_pictures(files, pictures)]
    places = read([*names, *(name for name, _ in lost), *empty], layout).places
    named = {places[name][0] for name in empty if name in places and layout is not Layout.file_names}
    nothing = Losses({label: Counter() for label in sorted(named - labels)})
    return nothing.plus((places[name][0], why) for name, why in lost if name in places)


def folders_without_pictures(files: Files, pictures: Sequence[str]) -> list[str]:
    """Return the outermost folders without a picture that were to have some: they are empty, or their files
    are pictures that are not read. Others, of texts for instance, are no classes."""
    pictured = {parent for name in pictures for parent in _parents(name)} | {""}
    bare = sorted(folder for folder in files.folders if folder not in pictured)
    inside: dict[str, list[str]] = {folder: [] for folder in bare if folder.rpartition("/")[0] in pictured}
    for name in (*files.read, *(refused.path for refused in files.refused)):
        for folder in inside.keys() & _parents(name):
            inside[folder].append(name)
    lost = {name for name, _ in _lost(files, pictures)}
    return [folder for folder, found in inside.items() if not found or not lost.isdisjoint(found)]


def kind_of(name: str) -> str:
    """Return the end of a file's name that says what it holds, in lower case."""
    return PurePosixPath(name).suffix.lower() or "no extension"


def passed_over(names: Iterable[str]) -> str:
    """Say how many files of which kinds are no pictures."""
    kinds = Counter(map(kind_of, names))
    counts = ", ".join(f"{count} with {kind}" for kind, count in kinds.most_common())
    return f"files that are not pictures, passed over: {counts}"


def _lost(files: Files, pictures: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the files that are called like pictures and give none, each with the reason."""
    for name in sorted(files.read.keys() - set(pictures)):
        if kind_of(name) in _UNREAD:
            yield name, f"of a kind that is not read, {kind_of(name)}"
    for refused in files.refused:
        is_unsafe = {"", ".."} & set(refused.path.split("/"))  # so it lies in no folder
        if kind_of(refused.path) in (*EXTENSIONS, *_UNREAD) and not is_unsafe:
            yield refused.path, refused.reason


def _parents(name: str) -> set[str]:
    parts = name.split("/")
    return {"/".join(parts[:depth]) for depth in range(1, len(parts))}
