"""What people call a split, and what it is called here: train, val or test."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

SPLITS = ("train", "val", "test")
VOTED = "voted"
"""The split of pictures whose label is what voters say, where others have labels of their own: trainings
learn from them, and nothing is measured by them. They lie behind the training pictures."""

_WORDS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev", "devel", "development"),
    "test": ("test", "testing", "tst", "holdout"),
}
_SPLIT_OF = {word: split for split, words in _WORDS.items() for word in words}
_EITHER = ("eval", "evaluation")
"""What is tested on; where a test split has its own name, what is validated on."""

_PLAIN = frozenset(
    ("set", "sets", "data", "dataset", "split", "splits", "subset", "part", "folder", "dir", "files", "input")
    + ("images", "image", "imgs", "img", "pictures", "picture", "pics", "photos", "photo")
    + ("jpg", "jpeg", "png")
)
"""Words around a split's name that say nothing: `training_set`, `test_images`."""

_TOKEN = re.compile(r"[^\W\d_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def splits_named(names: Collection[str]) -> dict[str, str]:
    """Return the split (`train`, `val` or `test`) of each of these names, which one data set uses beside each
    other, in any case; those that are no split's name are left out. Nothing may stand around them."""
    words = {name: name.strip().lower() for name in names}
    return _split_of({name: word for name, word in words.items() if _is_split(word)})


def splits_of(folders: Collection[str]) -> dict[str, str]:
    """Return the split of each of these folders, which lie beside each other; those of no split are left out.

    Digits, words that say nothing and words that all with a split's name share do not count: `seg_train`
    beside `seg_test`, `Training-Set 1`, `testImages`. Other words make another name of it: `freight_train`.
    """
    tokens = {folder: found for folder in folders if any(map(_is_split, found := _tokens(folder)))}
    shared = set.intersection(*map(set, tokens.values())) if len(tokens) > 1 else set()
    words = {
        folder: [token for token in found if _is_split(token) or not (token in shared or token in _PLAIN)]
        for folder, found in tokens.items()
    }
    named = {folder: found[0] for folder, found in words.items() if len(found) == 1 and _is_split(found[0])}
    return _split_of(named)


def are_in_names(folders: Iterable[str]) -> bool:
    """Return whether some names are the same but for a split's word: `train_cats` and `test_cats`."""
    found = defaultdict(set)
    for tokens in map(_tokens, folders):
        for word in filter(_is_split, tokens):
            if rest := tuple(token for token in tokens if token != word and token not in _PLAIN):
                found[rest].add(_SPLIT_OF.get(word, "test"))
    return any("train" in splits and len(splits) > 1 for splits in found.values())


def says_nothing(folder: str) -> bool:
    """Return whether a folder's name holds nothing but words around a split's name, such as `images`."""
    return all(token in _PLAIN for token in _tokens(folder))


def _split_of(words: Mapping[str, str]) -> dict[str, str]:
    """Return the split of each name, given the word for a split in it; what `_EITHER` means depends on the
    others, and it is left out where both of its meanings are taken."""
    known = {name: _SPLIT_OF[word] for name, word in words.items() if word in _SPLIT_OF}
    free = [split for split in ("test", "val") if split not in known.values()]
    return known | (dict.fromkeys(words.keys() - known.keys(), free[0]) if free else {})


def _tokens(folder: str) -> list[str]:
    """Return the words of a name in lower case: `trainImages_2017` has two, and so has `trainset`."""
    found = _TOKEN.findall(folder)
    words = [part for word in found for part in ([word] if _is_split(word.lower()) else _CAMEL.split(word))]
    return [token for word in words for token in _parted(word.lower())]


def _parted(word: str) -> list[str]:
    for split in (*_SPLIT_OF, *_EITHER):
        if word.startswith(split) and word.removeprefix(split) in _PLAIN:
            return [split, word.removeprefix(split)]
    return [word]


def _is_split(token: str) -> bool:
    return token in _SPLIT_OF or token in _EITHER
