"""What was found, before anything is made of it: the classes, with the pictures of each in every split."""

from collections import Counter
from collections.abc import Iterator

from thawline.config.sections import Role
from thawline.data.collection import Collection
from thawline.data.problems import plain
from thawline.data.split_names import SPLITS, VOTED
from thawline.wording import counted

_ROWS = 50
_WIDTH = 40
"""Characters of a class's name that are shown."""


def overview(collection: Collection, role: Role) -> Iterator[str]:
    """Yield the lines of a table: a row for each class, a column for each split that the data set names."""
    counts = Counter((item.label, item.split) for item in collection.items)
    labels = sorted({label for label, _ in counts} | collection.losses.of_class.keys())
    splits = [split for split in (*SPLITS, VOTED, "") if any(each == split for _, each in counts)]
    heads = [split or "in no split" for split in splits] if splits != [""] else ["pictures"]
    classes = "1 class" if len(labels) == 1 else f"{len(labels)} classes"
    yield f"{role.name}: {counted(len(collection.items), 'picture')} of {classes} found"
    width = max((len(_short(label)) for label in labels[:_ROWS]), default=0)
    yield f"  {'':{width}}  {'  '.join(f'{head:>8}' for head in heads)}"
    for label in labels[:_ROWS]:
        numbers = [
            f"{counts[label, split]:>{max(8, len(head))}}" for split, head in zip(splits, heads, strict=True)
        ]
        yield f"  {_short(label):{width}}  {'  '.join(numbers)}"
    if len(labels) > _ROWS:
        rest = [sum(counts[label, split] for split in splits) for label in labels[_ROWS:]]
        yield f"  and {len(rest)} more, with {min(rest)} to {max(rest)} pictures each"


def _short(label: str) -> str:
    text = plain(label)
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
