"""What files and classes are called: as text, in one form."""

import unicodedata


def shown(name: str) -> str:
    """Return a file's name as text, also where its bytes are not UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def class_name(text: str) -> str:
    """Return a class's name as it is stored: one Unicode form, whichever the file system or editor chose."""
    return unicodedata.normalize("NFC", shown(text))
