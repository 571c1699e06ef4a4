"""What files, classes and groups are called: as text, in one form."""

import unicodedata


def shown(name: str) -> str:
    """Return a file's name as text, also where its bytes are not UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def normal(text: str) -> str:
    """Return a name as it is compared and stored: text in Unicode's form NFC, whichever form the file system,
    the archive or the editor chose."""
    return unicodedata.normalize("NFC", shown(text))
