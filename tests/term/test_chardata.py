"""Charlists and chardata, to text and back."""

from __future__ import annotations

from typing import Any

import pytest

from quicdist.term import ImproperList, TermError, chardata_to_str, charlist, term_to_binary
from tests.support.beam import Beam

TEXT = "Zażółć 😀"


def test_a_charlist_is_the_list_of_its_characters() -> None:
    assert charlist("aП") == [97, 0x41F]
    assert chardata_to_str(charlist(TEXT)) == TEXT


CHARDATA: list[Any] = [
    [],
    b"",
    TEXT.encode(),
    [TEXT],
    [97, [b"b", [[0x41F]], "c"], []],
    ImproperList([97, b"b"], b"c"),
]


@pytest.mark.beam
@pytest.mark.parametrize("chardata", CHARDATA)
def test_chardata_is_read_as_otp_reads_it(beam: Beam, chardata: Any) -> None:
    as_otp = beam.eval_bytes_now(
        "unicode:characters_to_binary(binary_to_term(Data))", term_to_binary(chardata)
    )
    assert chardata_to_str(chardata) == as_otp.decode()


@pytest.mark.parametrize(
    "wrong", [97, [0x110000], [0xD800], [-1], b"\xff", [1.0], (97,), ImproperList([97], 97)]
)
def test_what_is_no_text_is_refused(wrong: Any) -> None:
    with pytest.raises(TermError):
        chardata_to_str(wrong)


def test_deep_chardata_is_read_without_recursion() -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    assert chardata_to_str(deep) == "x"
