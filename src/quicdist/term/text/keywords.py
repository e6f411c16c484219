"""The reserved words of Erlang. Source: Erlang Reference Manual, *Reserved Words*."""

from __future__ import annotations

#: Words that are not atoms unless quoted. ``maybe`` and ``else`` are so only since OTP 27 and are
#: read as atoms here; see :data:`quicdist.term.text.writer.RESERVED_WORDS` for what is quoted in print.
# fmt: off
KEYWORDS = frozenset((
    "after", "and", "andalso", "band", "begin", "bnot", "bor", "bsl", "bsr", "bxor", "case", "catch",
    "cond", "div", "end", "fun", "if", "let", "not", "of", "or", "orelse", "receive", "rem", "try",
    "when", "xor",
))
# fmt: on
