"""Tokens, and where they stand, as ``erl_scan`` sees them."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quicdist.term import ParseError, binary_to_term
from quicdist.term.digits import MAX_BITS, digits_from_integer, integer_from_digits
from quicdist.term.text.lexer import position, scan
from tests.support.beam import Beam
from tests.term.syntax import otp_release, sources

#: Category, line and column of each token.
ERL_SCAN = """
fun() ->
  {ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(Data), {1, 1}),
  term_to_binary([{atom_to_binary(element(1, T)), element(1, element(2, T)), element(2, element(2, T))}
                  || T <- Tokens])
end()
"""


def tokens_of(text: str) -> list[tuple[str, int, int]]:
    # erl_scan:string/2 does not tell a text's last full stop from any other.
    found = [token for token in scan(text) if token.kind != "eof"]
    kinds = {"variable": "var"}
    return [(kinds.get(token.kind, token.kind), *position(text, token.offset)) for token in found]


@pytest.mark.beam
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=sources)
def test_tokens_stand_where_erl_scan_finds_them(beam: Beam, text: str) -> None:
    found = binary_to_term(beam.eval_bytes_now(ERL_SCAN, f"{text} .\n".encode()))
    assert tokens_of(f"{text} .\n") == [(kind.decode(), line, column) for kind, line, column in found]


@pytest.mark.beam
@pytest.mark.parametrize(
    "text",
    [
        "a . b. c.% comment\nd.\n",
        "=:= =/= =< => == /= || := :: << <- <= >> >= -> -- ++ ?= ... .. - + * / = < > ! ? @ \\ ^ ` & # | : ;",
        "( ) { } [ ] Variable _ _1 ÅÄ after when",
        "\x00\x1f\x80\xa0 a\r\n\tb % \x7f \n % at the end",
        "$\n$\\\n'\n' \"\n\n\" x",
        "aß÷",
    ],
)
def test_other_tokens_are_those_of_erl_scan(beam: Beam, text: str) -> None:
    if text == "aß÷":
        with pytest.raises(ParseError, match="1:3: illegal character '÷'"):
            tokens_of(text)  # to erl_scan ÷ is a token, though no term can hold it
        return
    found = binary_to_term(beam.eval_bytes_now(ERL_SCAN, text.encode()))
    assert tokens_of(text) == [(kind.decode(), line, column) for kind, line, column in found]


def test_position_counts_from_one() -> None:
    assert position("ab\nc", 0) == (1, 1)
    assert position("ab\nc", 2) == (1, 3)
    assert position("ab\nc", 3) == (2, 1)


@pytest.mark.parametrize("text", ["\ud800", "'\ufffe'", "% \uffff"])
def test_what_is_no_character_is_refused(text: str) -> None:
    with pytest.raises(ParseError, match="is not a character"):
        list(scan(text))


@given(
    st.lists(
        st.sampled_from(
            ['"', "'", "~", "\\", "$", "\n", "s", "b", "(", ")", "x{", "}", "#", ".", "1", "_", "e"]
        )
    )
)
def test_whatever_is_no_token_is_a_parse_error(parts: list[str]) -> None:
    text = "".join(parts)
    try:
        *_, last = scan(text)
    except ParseError as error:
        place = error.line, error.column
    else:
        assert last.kind == "eof"
        place = position(text, last.offset)
    assert (1, 1) <= place <= position(text, len(text))


# -- numbers of any size -----------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(0, 2**40_000))
def test_integers_of_any_size(value: int) -> None:
    digits = digits_from_integer(value)
    assert integer_from_digits(digits) == value
    assert digits_from_integer(-value) == ("-" if value else "") + digits
    assert integer_from_digits(f"{value:x}", 16) == value
    assert integer_from_digits(f"{value:b}", 2) == value


def test_a_base_that_is_no_power_of_two_in_many_digits() -> None:
    assert integer_from_digits("z" * 5000, 36) == 36**5000 - 1
    assert integer_from_digits("2" * 5000, 3) == 3**5000 - 1


def test_the_largest_integer_there_and_back() -> None:
    largest = 2**MAX_BITS - 1
    digits = digits_from_integer(largest)
    assert len(digits) == 1_262_593
    assert integer_from_digits("000" + digits) == largest
    for more in (digits + "0", digits[:-1] + "9"):
        with pytest.raises(OverflowError):
            integer_from_digits(more)


@pytest.mark.beam
def test_the_largest_integer_is_otps(beam: Beam) -> None:
    assert beam.eval_now(f"(1 bsl {MAX_BITS - 1}) > 0") == "true"
    if otp_release() >= 27:
        assert beam.eval_now(f"catch element(1, catch (1 bsl {MAX_BITS}))") == "'EXIT'"
