"""What is wrong with bytes, before it is known where. Inside the decoder only."""

from __future__ import annotations

from quicdist.term.identifiers import MAX_REFERENCE_WORDS
from quicdist.term.tags import Tag


class Malformed(Exception):
    """What is wrong with the bytes; offset and path are added where they are known."""


class TooDeep(Malformed):
    """Nested deeper than the limits allow."""


def named(tag: int) -> str:
    try:
        return Tag(tag).name
    except ValueError:
        return f"tag {tag}"


def too_few(what: str, claimed: int, left: int) -> str:
    return f"a {what} that claims {claimed}, with {max(left, 0)} bytes left"


def bad_reference(words: int) -> str:
    return f"a reference of {words} words, where there are 1 to {MAX_REFERENCE_WORDS}"
