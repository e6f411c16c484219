"""Counts the grapheme clusters of a text, like ``string:length/1``."""

from __future__ import annotations

import re
import unicodedata

_BEYOND_LATIN1 = re.compile(r"[^\x00-\xff]")
_ZERO_WIDTH_JOINER = "\u200d"
_HANGUL_VOWELS_AND_FINALS = range(0x1160, 0x1200)
_HANGUL_LETTERS = range(0x1100, 0x1200)
_HANGUL_SYLLABLES = range(0xAC00, 0xD7A4)
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_TAGS = range(0xE0020, 0xE0080)
_REGIONAL_INDICATORS = range(0x1F1E6, 0x1F200)


def grapheme_count(text: str) -> int:
    """The number of grapheme clusters (UAX 29) in ``text``.

    Marks, joined emoji, flags and Hangul are put together by the general category of their
    characters, as Python has no table of grapheme breaks; some rare scripts come out longer.
    """
    if not _BEYOND_LATIN1.search(text):
        return len(text)  # io_lib counts the bytes of Latin-1
    count = 0
    previous = ""
    half_a_flag = False
    for character in text:
        if character in _ZERO_WIDTH_JOINER or _extends(character, previous):
            half_a_flag = False
        elif ord(character) in _REGIONAL_INDICATORS:
            half_a_flag = not half_a_flag
            count += half_a_flag
        else:
            half_a_flag = False
            count += 1
        previous = character
    return max(count, 1)


def _extends(character: str, previous: str) -> bool:
    """Whether ``character`` belongs to the cluster that ``previous`` is in."""
    if not previous or previous < " ":
        return False
    category = unicodedata.category(character)
    code = ord(character)
    return (
        category in ("Mn", "Me", "Mc")
        or code in _SKIN_TONES
        or code in _TAGS
        or (code in _HANGUL_VOWELS_AND_FINALS and _is_hangul(ord(previous)))
        or (previous == _ZERO_WIDTH_JOINER and category == "So")
    )


def _is_hangul(code: int) -> bool:
    return code in _HANGUL_LETTERS or code in _HANGUL_SYLLABLES
