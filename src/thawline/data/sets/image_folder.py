"""Your own pictures: a folder or archive with one sub-folder per class."""

from pathlib import Path

from thawline.config.choices import Groups, Layout
from thawline.config.composition import located
from thawline.config.errors import UserError
from thawline.config.sections import DataSet, Role, Source
from thawline.config.supervision import is_voted
from thawline.data.collection import Collection, Dropped, Item, find_alike
from thawline.data.files import Files, open_files
from thawline.data.groups import GROUPS, find, find_nearly, read_groups
from thawline.data.layout import Place, choose, enter, read
from thawline.data.layout_refusal import EXPECTED, refusal
from thawline.data.losses import Losses
from thawline.data.picture_files import EXTENSIONS, open_picture, pictures_in
from thawline.data.problems import Problem, Severity, listed, plain
from thawline.data.unread import find_losses, folders_without_pictures, passed_over


def collect(data: DataSet, seed: int) -> Collection:
    """Return the pictures below `root`, sorted by path, with the classes and splits that folders give them.

    `root` may be an archive, may start with `~`, and may hold all this in folders of any name. A groups.csv
    there, with the columns path and group, says which pictures show the same thing. Raises `UserError` when
    there are no pictures, or when folders could mean several things and `data.layout` does not say which.
    """
    root = located(str(data.root))
    files = open_files(root)
    pictures = pictures_in(files)
    if not pictures:
        refused = [f"{plain(each.path)} ({each.reason})" for each in files.refused]
        without = f"  Left out: {listed(refused)}\n" if refused else ""
        raise UserError(f"no pictures ({', '.join(EXTENSIONS)}) in {root}.\n{without}  {EXPECTED}")
    above = _entered(files, pictures)
    names = [name.removeprefix(above) for name in pictures]
    reading = choose(names) if data.layout is Layout.auto else read(names, data.layout)
    labels = set() if reading is None else set(reading.classes)
    losses = Losses() if reading is None else find_losses(files, pictures, above, reading.layout, labels)
    if is_voted(data) and len(labels) < 2 and len({name.rpartition("/")[0] for name in names}) == 1:
        # all in one folder, which is no class: none has a label
        places, labels, losses = dict.fromkeys(names, ("", "")), set(), Losses()
    elif reading is None or not labels or len(labels | losses.of_class.keys()) < 2:
        folder = root / above if root.is_dir() else None
        raise UserError(refusal(names, root, folder, _role(data).name, data.layout))
    else:
        unlabelled = dict.fromkeys(reading.left_out if is_voted(data) else (), ("", ""))
        places = dict(sorted((reading.places | unlabelled).items())) if unlabelled else reading.places
    left_out = () if reading is None else reading.left_out
    no_class = "" if reading is None else _no_class(reading.layout)
    groups, problems = _grouped(files, names, places, above, data)
    items = tuple(Item(name, label, split, groups.get(name, "")) for name, (label, split) in places.items())
    reads = [files.read[above + name] for name in places]
    return Collection(
        items,
        lambda position: open_picture(reads[position]),
        (*files.refused, *(Dropped(name, no_class) for name in left_out if name not in places)),
        (*files.notes, *_note_ignored(files, pictures)),
        losses=losses,
        problems=(*problems, *find_alike(labels)),
    )


def files_by_name(root: Path) -> dict[str, Path]:
    """Return where each picture below the folder `root` lies, by the name that `collect` gives it."""
    files = open_files(root)
    pictures = pictures_in(files)
    above = _entered(files, pictures)
    return {name.removeprefix(above): path for name in pictures if (path := files.read[name].path)}


def _role(data: DataSet) -> Role:
    return Role.source if isinstance(data, Source) else Role.target


def _no_class(layout: Layout) -> str:
    return "no class in its name" if layout is Layout.file_names else "not in a class folder"


def _entered(files: Files, pictures: list[str]) -> str:
    """Return the folders above all pictures that are no classes, as `wrapping/`.

    Where a folder beside one of them was to be a class, there are none above.
    """
    above = enter(pictures)
    beside = (folder for folder in folders_without_pictures(files, pictures) if not folder.startswith(above))
    return "" if any(beside) else above


def _grouped(
    files: Files, names: list[str], places: dict[str, Place], above: str, data: DataSet
) -> tuple[dict[str, str], list[Problem]]:
    """Return the groups that groups.csv gives to pictures, if it is there, and what is wrong with it."""
    tables = find(files.read)
    used = next((name for name in tables if above.startswith(name[: -len(GROUPS)])), None)
    near = (name for name in find_nearly(files.read) if _is_above_classes(name, above, places))
    elsewhere = [*(_elsewhere(name, data) for name in tables if name != used), *map(_nearly, near)]
    if used is None:
        return {}, elsewhere
    root = located(str(data.root)).name
    folders = [above, above.removeprefix(used[: -len(GROUPS)]), root, f"{root}/{above}"]
    groups, problems = read_groups(files.read[used](), names, folders, data.groups, _role(data).name)
    return groups, [*problems, *elsewhere]


def _is_above_classes(table: str, above: str, places: dict[str, Place]) -> bool:
    """Return whether a table lies above all pictures or above those of several classes, as in a split's
    folder."""
    folder = table[: table.rfind("/") + 1]
    labels = {label for name, (label, _) in places.items() if (above + name).startswith(folder)}
    return above.startswith(folder) or len(labels) > 1


def _elsewhere(name: str, data: DataSet) -> Problem:
    severity = Severity.note if data.groups is Groups.partial else Severity.error
    what = f"is not read: only one {GROUPS}, above all pictures, is"
    way_out = f"move its rows there, or go on without: -S {_role(data).name}.groups=partial"
    return Problem(severity, name, what, way_out=way_out)


def _nearly(name: str) -> Problem:
    what = f"is not read, but is nearly called {GROUPS}"
    return Problem(Severity.error, name, what, way_out=f"rename it to {GROUPS}, or remove it.")


def _note_ignored(files: Files, pictures: list[str]) -> tuple[str, ...]:
    others = [name for name in sorted(files.read.keys() - set(pictures)) if not find([name])]
    return (passed_over(others),) if others else ()
