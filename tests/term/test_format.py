"""Terms printed as ``io_lib:format`` prints them."""

from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from quicdist.term import (
    Atom,
    BitString,
    Export,
    Fun,
    ImproperList,
    Map,
    Pid,
    Port,
    Record,
    Reference,
    TermError,
    binary_to_term,
    exactly_equal,
    format_term,
    parse_term,
    term_to_binary,
)
from quicdist.term.text.graphemes import grapheme_count
from tests.support.beam import Beam
from tests.term.syntax import RESERVED_SINCE_27, otp_release, terms

#: One line and several, with strings and without, beyond Latin-1 and escaped, wide and narrow.
STYLES = (
    *("~w", "~tw", "~p", "~tp", "~0p", "~0tp", "~lp", "~tlp"),
    *("~1tp", "~10tp", "~20p", "~40tp", "~120tp", "~60.20tp", "~30.31tp"),
)
#: ``k`` is there since OTP 26.
ORDERED_STYLES = ("~kw", "~ktp", "~0kp", "~30tkp")

PRINTED = """
fun() ->
  {{Term, Styles}} = binary_to_term(Data),
  term_to_binary({{Term, [unicode:characters_to_binary(io_lib:format(Style, [Term])) || Style <- Styles]}})
end()
"""

VECTORS = [
    json.loads(line)
    for line in Path(__file__).parents[1].joinpath("vectors", "etf.jsonl").read_text().splitlines()
]


def printed(beam: Beam, term: Any, styles: tuple[str, ...]) -> tuple[Any, list[str]]:
    """The term with its maps as the BEAM orders them, and how the BEAM prints it in each style."""
    request = term_to_binary((term, [[ord(character) for character in style] for style in styles]))
    same, texts = binary_to_term(beam.eval_bytes_now(PRINTED.format(), request))
    assert exactly_equal(same, term)
    return same, [text.decode() for text in texts]


# -- against a BEAM ----------------------------------------------------------------------------


def prints_alike(data: bytes) -> bool:
    """Whether releases agree on this binary under ~tp: up to OTP 27 one that begins with a character
    that is not printable, and is no UTF-8 further on, may be printed as a string in Latin-1."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return all(ord(character) < 256 for character in data[: error.start].decode())
    return True


def alike(term: Any) -> bool:
    if isinstance(term, bytes):
        return prints_alike(term)
    if isinstance(term, ImproperList):
        return all(map(alike, term.elements)) and alike(term.tail)
    if isinstance(term, Map):
        return all(alike(part) for pair in term.items() for part in pair)
    return not isinstance(term, (list, tuple)) or all(map(alike, term))


@pytest.mark.beam
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(term=terms.filter(alike))
@example(term=[b"\xc3\xa5", b"\xe5", b"\xc3\xa5\xe5", b"\xd0\x9f", b"\xd0\x9f\xff", b"\x7f", b"\xef\xbf\xbe"])
def test_terms_are_printed_as_by_io_lib(beam: Beam, term: Any) -> None:
    styles = STYLES + (ORDERED_STYLES if otp_release() >= 26 else ())
    same, expected = printed(beam, term, styles)
    for style, text in zip(styles, expected, strict=True):
        assert format_term(same, style) == text, style


#: What lines are broken around, and tags, keys and fields of several lengths.
WORDS = [Atom("a" * length) for length in (1, 3, 4, 10, 25, 50)]
shapes = st.recursive(
    st.one_of(
        st.sampled_from(WORDS),
        st.integers(0, 10**6),
        st.sampled_from(
            [1.5, b"text", b"", b"\x01" * 30, BitString(b"\x01" * 25, 3), [104, 105], [], {}, ()]
        ),
    ),
    lambda parts: st.one_of(
        st.lists(parts, min_size=1, max_size=12),
        st.lists(parts, min_size=1, max_size=8).map(tuple),
        st.builds(lambda tag, rest: (tag, *rest), st.sampled_from(WORDS), st.lists(parts, max_size=8)),
        st.builds(
            ImproperList,
            st.lists(parts, min_size=1, max_size=5),
            st.sampled_from(WORDS) | parts.map(lambda p: (p,)),
        ),
        st.dictionaries(
            st.sampled_from(WORDS) | st.integers(0, 9) | st.tuples(st.sampled_from(WORDS)), parts, max_size=6
        ),
    ),
    max_leaves=60,
)


@pytest.mark.beam
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(term=shapes, length=st.integers(1, 130), column=st.integers(1, 70))
def test_lines_are_broken_as_by_io_lib_pretty(beam: Beam, term: Any, length: int, column: int) -> None:
    styles = (f"~{length}.{column}tp", f"~{length}p", "~p")
    same, expected = printed(beam, term, styles)
    for style, text in zip(styles, expected, strict=True):
        assert format_term(same, style) == text, style


@pytest.mark.beam
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=200, max_size=200))
@example(values=[sign * 2.0**power for power in range(-1074, 1024) for sign in (1, -1)])
@example(
    values=[float(f"{digits}e{power}") for power in range(-320, 306) for digits in ("1", "1.5", "123.456")]
)
def test_floats_have_the_fewest_digits(beam: Beam, values: list[float]) -> None:
    _, [text] = printed(beam, values, ("~0p",))
    assert format_term(values) == text


@pytest.mark.beam
def test_every_character_is_printed_as_io_lib_prints_it(beam: Beam) -> None:
    characters = [*range(0x300), 0x41F, 0xD7FF, 0xE000, 0xFFFD, 0xFFFE, 0xFFFF, 0x10000, 0x10FFFF]
    term = [
        [[character] for character in characters],
        [chr(character).encode() for character in characters],
        [bytes((byte,)) for byte in range(256)],
        [Atom(chr(character)) for character in characters],
        [Atom(f"a{chr(character)}") for character in characters],
    ]
    styles = ("~w", "~tw", "~0p", "~0tp")
    _, expected = printed(beam, term, styles)
    for style, text in zip(styles, expected, strict=True):
        assert format_term(term, style) == text, style


@pytest.mark.beam
def test_printable_range_unicode() -> None:
    terms = [
        [0x41F],
        [0x2FFFE],
        "П".encode(),
        "é".encode(),
        b"\xef\xbf\xbd",
        b"\xef\xbf\xbe",
        [0xFFFE],
        [0x85],
        [0xD7FF],
    ]
    with Beam(["+pc", "unicode"]) as wide:
        for style in ("~0tp", "~0p", "~tw"):
            _, [text] = printed(wide, terms, (style,))
            assert format_term(terms, style, printable_range="unicode") == text


@pytest.mark.beam
def test_reserved_words_are_quoted(beam: Beam) -> None:
    words = beam.eval_bytes_now(
        'list_to_binary(lists:join(",", [atom_to_list(A) || N <- lists:seq(97, 122), A <- ['
        "'after','begin','case','try','cond','catch','andalso','orelse','end','fun','if','let','of','receive',"
        "'when','bnot','not','div','rem','band','and','bor','bxor','bsl','bsr','or','xor','maybe','else'], "
        "hd(atom_to_list(A)) =:= N]))"
    )
    names = [word.decode() for word in words.split(b",")]
    if otp_release() < 27:
        names = [name for name in names if name not in RESERVED_SINCE_27]
    atoms = [Atom(name) for name in [*names, "ok"]]
    _, [text] = printed(beam, atoms, ("~0p",))
    assert format_term(atoms) == text
    assert [format_term(Atom(name)) for name in RESERVED_SINCE_27] == ["'maybe'", "'else'"]


@pytest.mark.beam
@pytest.mark.parametrize("keys", [31, 32, 33, 64, 1000])
def test_maps_are_printed_in_the_order_of_the_beam_they_came_from(beam: Beam, keys: int) -> None:
    etf = beam.eval_bytes_now(f"term_to_binary(maps:from_list([{{X, X * X}} || X <- lists:seq(1, {keys})]))")
    text = beam.eval_bytes_now('iolist_to_binary(io_lib:format("~w", [binary_to_term(Data)]))', etf)
    assert format_term(binary_to_term(etf)) == text.decode()


@pytest.mark.beam
@pytest.mark.parametrize(
    "text",
    [
        "abc",
        "åäö",
        "П",
        "e\u0301a",
        "👍🏽",
        "👨‍👩‍👧",
        "🇸🇪🇫🇮",
        "각",
        "가나",
        "0\u1160",
        "\u1112\u1161\u11ab",
        "नमो",
    ],
)
def test_width_is_what_string_length_counts(beam: Beam, text: str) -> None:
    assert beam.eval_now("string:length(unicode:characters_to_list(Data))", text.encode()) == str(
        grapheme_count(text)
    )


# -- recorded terms ----------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS, ids=[f"{vector['otp']}-{vector['name']}" for vector in VECTORS])
def test_every_recorded_term_prints_as_its_text(vector: dict[str, Any]) -> None:
    term = binary_to_term(bytes.fromhex(vector["etf"]))
    assert format_term(term, "~tw") == vector["text"]
    if vector["name"] in ("native_record_private", "fun_local", "fun_local0"):
        return  # what is printed of these is not all there is to them
    again = parse_term(vector["text"], node="nonode@nohost")
    assert exactly_equal(again, term)


# -- native records ----------------------------------------------------------------------------


@pytest.mark.beam
def test_native_records_over_several_lines(beam: Beam) -> None:
    if otp_release() < 29:
        pytest.skip("OTP 29 brought native records")
    fields = {Atom("x"): 1.0, Atom("a name"): [b"text", {1: 2}], Atom("y" * 30): (Atom("tag"), *range(30))}
    terms = [
        Record("geom", "vec", fields),
        Record("geom", "empty"),
        Record("a b", "C", {"x": Record("geom", "vec", fields)}, exported=False),
        (Atom("tag"), Record("geom", "long" * 10, {"x": Atom("a" * 40), "y": 2, "z": [Atom("b" * 60)]})),
    ]
    styles = tuple(f"~{length}tp" for length in (0, 5, 10, 20, 30, 40, 60, 80, 100))
    for term in terms:
        _, expected = printed(beam, term, styles)
        for style, text in zip(styles, expected, strict=True):
            assert format_term(term, style) == text, style


# -- without a BEAM ----------------------------------------------------------------------------


class Colour(enum.IntEnum):
    RED = 1


class Point(NamedTuple):
    x: int
    y: int


@pytest.mark.parametrize(
    ("term", "text"),
    [
        (None, "undefined"),
        (True, "true"),
        ("å", '<<"å"/utf8>>'),
        (bytearray(b"ab"), '<<"ab">>'),
        (memoryview(b"\x00"), "<<0>>"),
        (Colour.RED, "1"),
        (Point(1, 2), "{1,2}"),
        (Map([(1, Atom("a")), (1.0, Atom("b"))]), "#{1 => a,1.0 => b}"),
        ({Atom("b"): 1, Atom("a"): 2}, "#{b => 1,a => 2}"),
        (Record("geom", "vec", {"x": 1.0, "Y": []}), "#geom:vec{x = 1.0,'Y' = []}"),
        (Pid("a@h", 88, 1, 7), "<0.88.1>"),
        (Port("a@h", 5, 7), "#Port<0.5>"),
        (Reference("a@h", (1, 2, 3), 7), "#Ref<0.3.2.1>"),
        (Export("Elixir.Enum", "map", 2), "fun 'Elixir.Enum':map/2"),
        (BitString(b"\xff\xa0", 3), "<<255,5:3>>"),
        (ImproperList([Atom("alias")], 1), "[alias|1]"),
        ([True, 97], "[true,97]"),
        ([1114112], "[1114112]"),
        ([-1], "[-1]"),
    ],
)
def test_values_of_python_types_print_as_their_terms(term: Any, text: str) -> None:
    assert format_term(term) == text


def test_the_atom_for_none_is_an_option() -> None:
    assert format_term([None], none="nil") == "[nil]"
    assert format_term({None: 1, Atom("m"): 2}, "~kw", none="nil") == "#{m => 2,nil => 1}"


def test_node_names() -> None:
    term = [Pid("a@h", 88, 1, 7), Port("a-b@h.se", 5, 7), Reference("a@h", (1, 2, 3), 7)]
    text = format_term(term, node_names=True)
    assert text == "[<a@h.88.1>,#Port<'a-b@h.se'.5>,#Ref<a@h.3.2.1>]"
    assert parse_term(text) == [Pid("a@h", 88, 1, 0), Port("a-b@h.se", 5, 0), Reference("a@h", (1, 2, 3), 0)]


def test_local_funs() -> None:
    vector = next(vector for vector in VECTORS if vector["name"] == "fun_local")
    fun = binary_to_term(bytes.fromhex(vector["etf"]))
    assert isinstance(fun, Fun)
    assert str(fun) == format_term(fun) == vector["text"]


@pytest.mark.parametrize("value", [object(), float("nan"), float("inf"), {1, 2}, 1j, "\ud800"])
def test_formatting_a_value_that_is_not_a_term_raises_term_error(value: Any) -> None:
    for style in ("~0tp", "~p"):
        for term in (value, [value], {1: (value,)}):
            with pytest.raises(TermError, match=r"cannot encode|Erlang has no float|not valid Unicode"):
                format_term(term, style)


@pytest.mark.parametrize("style", ["", "p", "~s", "~q", "~80w", "~p~p", "~-1p", "~.p", "~99999999999p"])
def test_an_invalid_style_is_a_value_error(style: str) -> None:
    with pytest.raises(ValueError, match="expected a control sequence"):
        format_term([], style)


@pytest.mark.parametrize("style", ["~0tp", "~p"])
def test_depth_is_bounded(style: str) -> None:
    deep: Any = []
    for _ in range(2_999):
        deep = [deep, (deep,)] if deep == [] else [deep]
    assert format_term(deep, style).startswith("[[[")
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(TermError, match="nested deeper than 200000"):
        format_term(endless, style)
    with pytest.raises(TermError, match="nested deeper than 1"):
        format_term([[[]]], style, max_depth=1)
    assert format_term([[[]]], style, max_depth=2) == "[[[]]]"


def test_integers_of_any_size() -> None:
    assert format_term([-(10**100_000)]) == f"[-1{'0' * 100_000}]"


@given(term=terms, style=st.sampled_from(["~w", "~tw", "~0p", "~0tp", "~p", "~tp", "~30tp", "~120p"]))
def test_what_is_printed_can_be_read_again(term: Any, style: str) -> None:
    assert exactly_equal(parse_term(format_term(term, style), node="nonode@nohost"), term)
