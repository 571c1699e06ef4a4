"""Which encoding names have that do not say it: those of old zip programs, and of disks of other systems.

Names are UTF-8 where all of them decode as that: other encodings hardly ever do by chance. Else each
candidate is judged by what it makes of all names together: are ideographs and accented letters those in daily
use, do capitals begin words, is a word of one script, are there signs that no name has?
"""

import unicodedata
from collections.abc import Sequence

OEM = ("cp437", "cp850", "cp866", "cp852", "cp857", "cp737")
"""What DOS used, and zip programs of Windows still write."""
ANSI = ("cp1252", "cp1251", "cp1250", "cp1253", "cp1254", "cp1255", "cp874", "cp1256")
"""What Windows uses elsewhere; cp1252 is what Unix used, too."""
IDEOGRAPHIC = {
    "gb18030": (0xB0, 0xD7, 0xA1),
    "cp932": (0x88, 0x97, 0x40),
    "cp950": (0xA4, 0xC6, 0x40),
    "cp949": (0xB0, 0xC8, 0xA1),
    "euc_jp": (0xB0, 0xCF, 0xA1),
}
"""Encodings of two bytes a sign: the first and last lead byte and the least trail byte of those signs that
the standard behind each puts first, because they are in daily use."""

_WESTERN = frozenset("éèêàâçäöüßñåøæáóíúãÉÈÀÇÄÖÜÅØÆÁÓÍÑ")
_CENTRAL = frozenset("ąćęłńóśźżáčéěíňřšťúůýžőűöüäôľßĆŁŚŻŹČŘŠŽÁÉÍÓÖÜÄŐ")
_TURKISH = frozenset("çğıöşüÇĞİÖŞÜ")
_OFTEN = {"cp852": _CENTRAL, "cp1250": _CENTRAL, "cp857": _TURKISH, "cp1254": _TURKISH}
"""Accented letters that are frequent in the languages an encoding was made for (else: `_WESTERN`)."""
_SELDOM = frozenset("ëîïôûùœõÊÔÚ")
_SYLLABLES = frozenset(
    "가각간갈감강개거건검게견겨경계고골곰공과관광교구국군권귀그금급기길김나난남내너노녹농눈는능니다단달닭담당대더도독돌동"
    "두등디딸라락란람랑래량러런력령로록론료루류르른름리린림립마만말망매머면명모목무문물미민바박반발방배백버번범법변별병"
    "보복본부북분불비빈사산살상새색생서석선설성세소속손송수순스습승시식신실심아악안알암앙애야약양어언얼업에여역연열영예"
    "오온와완왕외요용우운원월위유은을음의이인일임입자작잔장재저적전점정제조족종좌주죽준중증지직진질집차찬참창채책처천철"
    "청체초촌총최추축출충치친칠침카코크키타탁탄탕태터테토통투트특파판팔패퍼페편평포표품풍프플피필하학한할함합항해행향허험"
    "현형호홍화확환활황회효후훈휴흑희히"
)
"""Korean syllables that are frequent. Common Chinese ideographs look like a syllable more often than not,
like one of these seldom."""
_VOWELS = {
    "CYRILLIC": frozenset("аеёиоуыэюяіїєАЕЁИОУЫЭЮЯІЇЄ"),
    "GREEK": frozenset("άέήίόύώΆΈΉΊΌΎΏΑΕΗΙΟΥΩ"),
}
"""Letters of which every longer word has one: in Greek the stressed ones, or capitals."""
_SIGNS = frozenset("’‘“”–—·°ºª№・ー（）【】、。《》「」－＿")
_IMPOSSIBLE = float("-inf")


def decoded(names: Sequence[bytes], candidates: Sequence[str] = (*OEM, *ANSI)) -> tuple[list[str], str]:
    """Return the names as text, and the encoding that they were found to have.

    names: paths with `/` between their parts.
    candidates: encodings of one byte a letter, the likelier first where names tell nothing.
    """
    if all(map(_is_utf8, names)):
        return [name.decode() for name in names], "utf-8"
    parts = sorted({part for name in names for part in name.split(b"/") if not part.isascii()})
    others = [part for part in parts if not _is_utf8(part)]
    # UTF-8 and something else in one archive: a few names may be UTF-8 by chance, most of them are not
    mixed = 2 * len(others) < len(parts)
    found = {each: _plausibility(others if mixed else parts, each) for each in (*IDEOGRAPHIC, *candidates)}
    likeliest = max(found, key=lambda each: found[each])
    if found[likeliest] == _IMPOSSIBLE:
        likeliest = "latin-1"
    texts = [name.decode("utf-8" if mixed and _is_utf8(name) else likeliest, "replace") for name in names]
    return texts, likeliest


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _plausibility(parts: Sequence[bytes], encoding: str) -> float:
    """Return from -1 to 1 how much `parts` look like names in `encoding`, a mean over all bytes that are not
    ASCII; minus infinity where they cannot be in it."""
    total, weight = 0.0, 0
    for part in parts:
        try:
            text = part.decode(encoding)
        except UnicodeDecodeError:
            return _IMPOSSIBLE
        for place, letter in enumerate(text):
            if not letter.isascii():
                raw = letter.encode(encoding)
                total += len(raw) * _value(letter, raw, text, place, encoding)
                weight += len(raw)
    return total / weight


def _value(letter: str, raw: bytes, text: str, place: int, encoding: str) -> float:
    if letter in _SIGNS:
        return 0.3
    if encoding in IDEOGRAPHIC:
        return _of_ideograph(letter, raw, text[place + 1 : place + 2], encoding)
    if not letter.isalpha() and not (encoding == "cp874" and unicodedata.category(letter) == "Mn"):
        return -1.0
    return _of_letter(letter, _word_around(text, place), text[place - 1 : place], encoding)


def _of_ideograph(letter: str, raw: bytes, following: str, encoding: str) -> float:
    script = _script(letter)
    if script in ("HIRAGANA", "KATAKANA"):
        return 1.0 if encoding in ("cp932", "euc_jp") else 0.0
    if script not in ("CJK", "HANGUL") or len(raw) != 2:
        return -1.0
    if following.isascii() and following.islower():
        return -0.2  # more likely an accented letter within a word
    if encoding == "cp949":
        return -0.5 if script == "CJK" else 1.0 if letter in _SYLLABLES else 0.6
    first, last, least = IDEOGRAPHIC[encoding]
    lead, trail = raw
    if trail >= least:
        return 0.9 if first <= lead <= last else 0.1 if lead > last else -0.5
    return -0.5


def _of_letter(letter: str, word: str, before: str, encoding: str) -> float:
    script = _script(letter)
    if any(_script(each) != script for each in word):
        return -1.0
    if letter.isupper() and before.islower():
        return -1.0
    if script != "LATIN":
        if len(word) > 2 and script in _VOWELS and not _VOWELS[script] & set(word):
            return 0.3
        return 0.7 if script in ("THAI", "ARABIC") else 0.75 if letter.isupper() else 0.85
    if 3 * sum(not each.isascii() for each in word) > 2 * len(word) > 2:
        return -0.5  # hardly a plain letter in it
    if encoding in _OFTEN:  # a little less likely than what is written in more places
        return 0.83 if letter in _OFTEN[encoding] else 0.4
    return 0.85 if letter in _WESTERN else 0.7 if letter in _SELDOM else 0.4


def _script(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0]


def _word_around(text: str, place: int) -> str:
    start = end = place
    while start and text[start - 1].isalpha():
        start -= 1
    while end < len(text) and text[end].isalpha():
        end += 1
    return text[start:end]
