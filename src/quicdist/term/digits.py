"""Converts integers of any size to digits and back.

Python refuses to convert more than 4,300 digits (a program may lower this to 640) to an int or back, because
its algorithm takes quadratic time. An integer in Erlang may have over a million digits. The two functions
here divide and conquer, which takes less than quadratic time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import decimal

#: Erlang's largest integer has 65,535 words of 64 bits (since OTP 27; older releases allow more).
MAX_BITS = 4_194_240

#: Up to this size Python's own conversion is always allowed, and is the fastest.
_SHORT_DIGITS = 600
_SHORT_BITS = 1_990


@cache
def _exact() -> decimal.Context:
    """Wide enough for any integer; a result that is not exact would raise."""
    import decimal  # few programs print integers so long

    return decimal.Context(
        prec=decimal.MAX_PREC, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, traps=[decimal.Inexact]
    )


def integer_from_digits(digits: str, base: int = 10) -> int:
    """The value of ``digits`` (no sign, no underscores) in ``base``, 2 to 36, however many they are.

    Raises ValueError if one of them is not a digit of ``base``, OverflowError beyond Erlang's largest
    integer.
    """
    if len(digits) <= _SHORT_DIGITS:
        return int(digits, base)
    significant = digits.lstrip("0") or "0"
    if (len(significant) - 1) * math.log2(base) > MAX_BITS + 1:
        raise OverflowError
    if base & (base - 1) == 0:
        value = int(significant, base)
    else:
        value = _join(significant, base, cache(lambda exponent: base**exponent))
    if value.bit_length() > MAX_BITS:
        raise OverflowError
    return value


def _join(digits: str, base: int, power: Callable[[int], int]) -> int:
    if len(digits) <= _SHORT_DIGITS:
        return int(digits, base)
    half = len(digits) // 2
    return _join(digits[:-half], base, power) * power(half) + _join(digits[-half:], base, power)


def digits_from_integer(value: int) -> str:
    """``value`` in decimal, with its sign, however long it is."""
    size = value.bit_length()
    if size <= _SHORT_BITS:
        return str(value)
    # libmpdec multiplies by number-theoretic transform, so the halves are put together there.
    context = _exact()
    power = cache(lambda exponent: context.power(2, exponent))
    digits = str(_in_decimal(abs(value), size, context, power))
    return f"-{digits}" if value < 0 else digits


def _in_decimal(
    value: int, size: int, context: decimal.Context, power: Callable[[int], decimal.Decimal]
) -> decimal.Decimal:
    if size <= _SHORT_BITS:
        return context.create_decimal(value)
    half = size >> 1
    high = value >> half
    low = value - (high << half)
    return context.add(
        context.multiply(_in_decimal(high, size - half, context, power), power(half)),
        _in_decimal(low, half, context, power),
    )
