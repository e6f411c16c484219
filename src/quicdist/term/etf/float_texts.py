"""Readers of floats as text (FLOAT_EXT): "%.20e" in 31 bytes, filled up with zeros.

``float()`` accepts more than that, so the form is checked before: the text with each digit replaced by 0 is
one of a few. ``float()`` of 21 digits takes most of the time that is left.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from struct import Struct
from typing import Any

from quicdist.term.etf.readers import NOT_READ

#: Replaces digits by 0.
DIGITS = bytes(48 if 48 <= byte < 58 else byte for byte in range(256))
#: The forms that OTP writes, with the end of the text. Exponents of 100 and more are left to the decoder: the
#: float may be infinite.
ENDS = {
    text.ljust(31, b"\0"): len(text)
    for sign in (b"", b"-")
    for exponent in (b"+00", b"-00", b"-000")
    for text in (b"%b0.%be%b" % (sign, b"0" * 20, exponent),)
}
_SIZE = 32
#: Bytes of forms of tuples that are kept for one size of a tuple.
_MAX_LAYOUTS = 1 << 14
#: Elements of a list that are read in one step.
_STEP = 1024

#: The source of the functions for tuples.
_TUPLE = """\
def read(data, i, room):
    form = data[i + 2 : i + {end}].translate(digits)
    unpack = layouts.get(form) or layout(form)
    if unpack is None:
        return not_read
    {variables}, = unpack.unpack_from(data, i + 2)
    return {term}, i + {end}
"""
_WHOLE = """\
def read(data):
    form = data[3:].translate(digits)
    unpack = layouts.get(form) or layout(form)
    if unpack is None:
        return not_read
    {variables}, = unpack.unpack_from(data, 3)
    return {term}
"""


def compile_texts(count: int, *, whole: bool = False) -> Any:
    """The function that reads a tuple of so many floats as text: what ``compile_one`` makes or, with
    ``whole``, ``compile_whole``. The first bytes, to the first tag, have been compared."""
    layouts: dict[bytes, Struct | None] = {}

    def layout(form: bytes) -> Struct | None:
        # A form that is not in ``layouts`` yet, or that is none.
        if form in layouts or len(form) != count * _SIZE:
            return None
        if len(layouts) * len(form) > _MAX_LAYOUTS:
            layouts.clear()
        texts = [form[at : at + _SIZE] for at in range(0, len(form), _SIZE)]
        ends = [ENDS.get(text[1:]) if text[0] == 99 else None for text in texts]
        unpack = None if None in ends else Struct("".join(f"x{end}s{31 - (end or 0)}x" for end in ends))
        layouts[form] = unpack
        return unpack

    names = {"layouts": layouts, "layout": layout, "digits": DIGITS, "not_read": NOT_READ}
    variables = [f"v{n}" for n in range(count)]
    source = (_WHOLE if whole else _TUPLE).format(
        end=2 + count * _SIZE,
        variables=", ".join(variables),
        term=f"({', '.join(f'float({variable})' for variable in variables)},)",
    )
    exec(compile(source, "<floats>", "exec"), names)  # nothing of a peer's is in the source
    return names["read"]


#: Makes JSON's text of FLOAT_EXTs: the tag becomes a comma, zeros become spaces, and what is in no number an
#: exclamation mark, which is no JSON.
_TO_JSON = bytes(byte if byte in b"0123456789.eE+-" else {99: 44, 0: 32}.get(byte, 33) for byte in range(256))


@cache
def _from_json() -> Callable[[str], tuple[Any, int]]:
    import json  # few peers send floats as text

    return json.JSONDecoder().raw_decode


def read_texts(data: bytes, i: int, count: int, items: list[float]) -> int:
    """Read floats as text at ``i``, up to ``count``, many at a time; returns the offset after them.

    JSON's grammar of numbers is part of the one of FLOAT_EXT, except that it has numbers without a point.
    """
    decode = _from_json()
    count = min(count, (len(data) - i) // _SIZE)
    while count:
        here = min(count, _STEP)
        end = i + here * _SIZE
        text = data[i:end].translate(_TO_JSON)
        # A text begins right after its tag, and ends at the first zero, as a space in a number is no JSON.
        if text[::_SIZE] != b"," * here or b" " in text[1::_SIZE] or text.count(b".") != here:
            break
        try:
            values, _ = decode("[" + text[1:].decode("ascii") + "]")
        except ValueError:
            break
        # A sum that is finite has finite terms only; 0 times any other is NaN.
        if len(values) != here or sum(values) * 0.0:
            break
        items += values
        i = end
        count -= here
    return i
