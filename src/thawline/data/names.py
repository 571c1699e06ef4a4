"""What files, classes and groups are called: as text, in one form."""

import unicodedata

from thawline.config.paths import shown


def normal(text: str) -> str:
    """Return a name as it is compared and stored: text in Unicode's form NFC, whichever form the file system,
    the archive or the editor chose."""
    return unicodedata.normalize("NFC", shown(text))
