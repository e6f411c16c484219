"""Errors inside the decoder: without offset and path, which are added where they are known."""

from __future__ import annotations

from struct import error as struct_error

from quicdist.term.errors import TermError
from quicdist.term.identifiers import MAX_REFERENCE_WORDS
from quicdist.term.tags import Tag


class Malformed(Exception):
    """The bytes are not a term; the text says why."""


class NeedsDecoder(Exception):
    """In the fast path: the complete decoder has to decode the whole term."""


class TooDeep(Malformed):
    """Nested deeper than the limits allow."""


#: Raised in the fast path for bytes that the complete decoder has to decode: it raises the right error. Any
#: other exception is a defect, which must show.
LEFT_TO_DECODER = (
    NeedsDecoder,
    Malformed,
    TermError,
    LookupError,
    TypeError,
    ValueError,
    OverflowError,
    RecursionError,
    struct_error,
)


def named(tag: int) -> str:
    try:
        return Tag(tag).name
    except ValueError:
        return f"tag {tag}"


def too_few(what: str, claimed: int, left: int) -> str:
    return f"a {what} of length {claimed}, but only {max(left, 0)} bytes are left"


def bad_reference(words: int) -> str:
    return f"a reference has 1 to {MAX_REFERENCE_WORDS} words, not {words}"
