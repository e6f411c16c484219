"""Readers of integers of 8 and 32 bits that are mixed, as compiled Python functions.

Where the next integer begins depends on the tags of those before it. Such a function tests one tag after
another, and then unpacks all of the integers in one step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from struct import Struct
from struct import error as struct_error
from typing import TYPE_CHECKING, Any

from quicdist.term.etf.readers import NOT_READ, ReadNumbers
from quicdist.term.etf.shapes import Number
from quicdist.term.tags import Tag

if TYPE_CHECKING:
    from quicdist.term.etf.shapes import Shape

#: Integers of either size that are unpacked in one step. Each further one doubles the number of formats.
_MOST_EITHER = 6
#: Parts of a tuple that is read so: the test of each tag is nested in those before it, and Python allows 100
#: levels of indentation.
_MOST_PARTS = 64
#: By tag: the format, and the bytes with the tag.
_FORMATS = {Tag.SMALL_INTEGER_EXT: ("xB", 2), Tag.INTEGER_EXT: ("xi", 5)}
_EITHER = tuple(map(int, _FORMATS))

_TUPLE = """\
def read(data, i, room):
    try:
{body}
    except (IndexError, struct_error):
        pass
    return not_read
"""
_WHOLE = """\
def read(data):
    i = 0
    try:
{body}
    except (IndexError, struct_error):
        pass
    return not_read
"""

_LIST = """\
def read(data, i, count, items):
    try:
        while count >= {most}:
{body}
            break
    except (IndexError, struct_error):
        pass
    return i
"""


def compile_numbers(parts: Sequence[Shape], *, whole: bool = False) -> Any:
    """The function that reads a tuple of integers, of which some may have either size; None if these or all
    parts are too many, or if it has other parts. Its first bytes, to the first tag, have been compared.
    ``whole`` asks for what ``compile_whole`` makes, in place of ``compile_one``."""
    if len(parts) > _MOST_PARTS:
        return None
    tags = [part.tag for part in parts if isinstance(part, Number)]
    if len(tags) < len(parts) or not 0 < tags.count(0) <= _MOST_EITHER:
        return None
    if any(tag and tag not in _EITHER for tag in tags):
        return None
    names: dict[str, Any] = {"struct_error": struct_error, "not_read": NOT_READ}
    if whole:
        lines = _branches(tags, 8, "3x", 3, 4, "return {name}.unpack(data)", names)
        return _compiled(_WHOLE.format(body="\n".join(lines)), names)
    lines = _branches(tags, 8, "2x", 2, 3, "return {name}.unpack_from(data, i), i + {size}", names)
    return _compiled(_TUPLE.format(body="\n".join(lines)), names)


@cache
def mixed_integers() -> ReadNumbers:
    """The function that reads integers of either size, some at a time, as long as there are so many more."""
    names: dict[str, Any] = {"struct_error": struct_error}
    leaf = f"items += {{name}}.unpack_from(data, i); i += {{size}}; count -= {_MOST_EITHER}; continue"
    lines = _branches([0] * _MOST_EITHER, 12, "", 0, 0, leaf, names)
    return _compiled(_LIST.format(body="\n".join(lines), most=_MOST_EITHER), names)  # type: ignore[no-any-return]


def _branches(
    tags: Sequence[int], indent: int, format: str, at: int, compared: int, leaf: str, names: dict[str, Any]
) -> Iterator[str]:
    """The statements that test ``tags`` from the offset ``at`` on; 0 stands for either."""
    if not tags:
        name = f"format_{len(names)}"
        names[name] = Struct(">" + format)
        yield " " * indent + leaf.format(name=name, size=at)
        return
    word = "if"
    for tag in [tags[0]] if tags[0] else _EITHER:
        code, size = _FORMATS[Tag(tag)]
        inner = _branches(tags[1:], indent + 1, format + code, at + size, compared, leaf, names)
        if at < compared:
            yield from (line[1:] for line in inner)
        else:
            yield f"{' ' * indent}{word} data[{f'i + {at}' if at else 'i'}] == {tag}:"
            yield from inner
        word = "elif"


def _compiled(source: str, names: dict[str, Any]) -> Any:
    # Nothing of a peer's is in the source.
    exec(compile(source, "<numbers>", "exec"), names)
    return names["read"]
