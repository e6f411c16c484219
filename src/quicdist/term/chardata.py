"""Text in Erlang's forms: charlists, and the nested lists of characters and binaries that are chardata."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from quicdist.term.errors import TermError
from quicdist.term.values import ImproperList


def charlist(text: str) -> list[int]:
    """The charlist of a text, ``"abc"`` in Erlang: for functions that take no binary (file names, hosts)."""
    return [ord(character) for character in text]


def chardata_to_str(chardata: Any) -> str:
    """The text of a charlist, a UTF-8 binary, or lists of both (``unicode:characters_to_list/1``).

    Raises TermError for an integer that is not a character, a binary that is not UTF-8, and other types.
    """
    pieces: list[str] = []
    stack: list[Iterator[Any]] = [iter((chardata,))]
    while stack:
        for part in stack[-1]:
            if isinstance(part, str):
                pieces.append(part)
            elif type(part) is int and stack[1:]:
                pieces.append(_character(part))
            elif isinstance(part, (bytes, bytearray, memoryview)):
                try:
                    pieces.append(bytes(part).decode())
                except UnicodeDecodeError as error:
                    raise TermError(f"a binary that is not UTF-8: {error.reason}") from None
            elif isinstance(part, list):
                stack.append(iter(part))
                break
            elif isinstance(part, ImproperList) and not isinstance(part.tail, int):
                stack.append(chain(part.elements, (part.tail,)))
                break
            else:
                raise TermError(f"expected chardata, got {type(part).__name__}")
        else:
            stack.pop()
    return "".join(pieces)


def _character(code: int) -> str:
    if not 0 <= code <= 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise TermError(f"{code} is not a character")
    return chr(code)
