"""What the tests of Erlang's syntax share: source text for one term, and terms to print."""

from __future__ import annotations

from hypothesis import strategies as st

from quicdist.term import Atom, BitString, Export, ImproperList, Map, Pid, format_term
from tests.support.beam import erl_facts

#: What is reserved since OTP 27, and here always; older releases print these without quotes.
RESERVED_SINCE_27 = ("maybe", "else")


def otp_release() -> int:
    return erl_facts()[0]


# -- terms -------------------------------------------------------------------------------------

#: Of those further on, only some are as wide here as to OTP (see the test of that).
characters = st.characters(max_codepoint=0x2FF)
names = st.one_of(
    st.sampled_from(
        ["ok", "error", "Abc", "a b", "", "a@b", "x1", "when", "åäö", "÷", "П", "'", "\\", "\n", "\x7f"]
    ),
    st.text(characters, max_size=12),
).filter(lambda name: name not in (*RESERVED_SINCE_27, "true", "false", "undefined"))  # the latter: no Atom
#: Those that a BEAM prints in a fun in a way that it can read again.
names_in_funs = st.sampled_from(["lists", "map", "a b", "", "a@b", "'Abc'", "Elixir.Enum", "1", "\\", "\n"])
strings = st.text(st.sampled_from("abc XYZ\"'\\~\n\t\v\b\f\r\x1b\x00\x7f\x80\xa0éÿ€Я😀"), max_size=40)
binaries = st.one_of(strings.map(str.encode), st.binary(max_size=3), st.binary(min_size=40, max_size=60))
bitstrings = st.builds(BitString, st.binary(min_size=1, max_size=40), st.integers(1, 7))
leaves = st.one_of(
    st.none(),
    st.booleans(),
    names.map(Atom),
    st.integers(-300, 300),
    st.integers(-(10**40), 10**40),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 100.0, 1000.0, 1e22, 2.0**53, 5e-324]),
    strings.map(lambda text: [ord(character) for character in text]),
    binaries,
    bitstrings,
    st.builds(Export, names_in_funs, names_in_funs, st.integers(0, 255)),
    st.builds(Pid, st.just("nonode@nohost"), st.integers(0, 1000), st.just(0), st.just(0)),
)


def _map(pairs: list[tuple[object, object]]) -> Map:
    """A map of keys that are different terms, also up to OTP 26, where 0.0 and -0.0 are not."""
    return Map({format_term(key, "~w").replace("-0.0", "0.0"): (key, value) for key, value in pairs}.values())


terms = st.recursive(
    leaves,
    lambda parts: st.one_of(
        st.lists(parts, max_size=6),
        st.lists(parts, max_size=6).map(tuple),
        st.builds(lambda tag, rest: (Atom(tag), *rest), names, st.lists(parts, max_size=5)),
        st.lists(st.tuples(parts, parts), max_size=4).map(_map),
        st.builds(
            ImproperList, st.lists(parts, min_size=1, max_size=4), st.one_of(names.map(Atom), binaries)
        ),
    ),
    max_leaves=25,
)


# -- source text -------------------------------------------------------------------------------

spaces = st.sampled_from(["", " ", "\n", "\t", " % a comment: {[<<\"'\n", "\r\n", "\x80\xa0"])
escapes = st.sampled_from(
    [r"\n", r"\\", r"\"", r"\'", r"\x{1F600}", r"\xe5", r"\101", r"\7", r"\s", r"\^a", r"\q"]
)
quotable = st.one_of(escapes, st.sampled_from([*"aZ0 _@%.{}\n", "å", "П", "😀"]))
in_quotes = st.lists(quotable, max_size=6).map("".join)
digits = st.integers(0, 10**30).map(str)
numbers = st.one_of(
    digits,
    st.sampled_from(["1_000", "0", "007", "16#ff", "16#FF_ff", "36#Zz", "2#1_0", "10#99", "1_6#a"]),
    st.sampled_from(["1.0", "0.5e3", "1_0.2_5E+1_0", "2.5e-7", "1.0e-400", "123456789.123456789"]),
    st.sampled_from(["$a", "$ ", "$\\n", "$\\x{41}", "$\\101", "$'", '$"', "$\\$", "$П"]),
)
atoms = st.one_of(
    st.sampled_from(["a", "ok", "a@b", "aB_1", "åäö", "true", "undefined", "'when'", "''", r"'\''", "'П'"]),
    in_quotes.map(lambda text: f"'{text}'"),
)
segments = st.one_of(
    st.sampled_from(
        ["1", "-1", "256", "$a", "1:4", "1:12/little", "1:(16)", "-2:16/signed-little", "<<1,2>>/binary"]
    ),
    st.sampled_from(
        ["1.5/float", "1:32/float", "1.5:16/little-float", "1:2/unit:3", "8364/utf8", "8364/utf16-little"]
    ),
    st.sampled_from(["<<5:3>>/bits", "<<1,2,3>>:2/bytes", '"ab":16', '"é€"/utf8', '""/utf32', "(1):(8)"]),
    in_quotes.map(lambda text: f'"{text}"'),
)


@st.composite
def _spaced(draw: st.DrawFn, tokens: list[str]) -> str:
    return "".join(token + draw(spaces) for token in tokens)


def _separated(parts: list[str], separator: str = ",") -> list[str]:
    return [token for part in parts for token in (separator, part)][1:]


def _compound(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(parts, max_size=4)
    return st.one_of(
        several.flatmap(lambda inside: _spaced(["{", *_separated(inside), "}"])),
        several.flatmap(lambda inside: _spaced(["[", *_separated(inside), "]"])),
        st.tuples(st.lists(parts, min_size=1, max_size=3), parts).flatmap(
            lambda both: _spaced(["[", *_separated(both[0]), "|", both[1], "]"])
        ),
        st.lists(st.tuples(parts, parts).map(list), max_size=3).flatmap(
            lambda pairs: _spaced(["#", "{", *_separated([" => ".join(pair) for pair in pairs]), "}"])
        ),
        parts.flatmap(lambda inside: _spaced(["(", inside, ")"])),
    )


sources = st.recursive(
    st.one_of(
        numbers,
        numbers.flatmap(lambda number: _spaced(["-", number])),
        numbers.flatmap(lambda number: _spaced(["+", number])),
        atoms,
        st.lists(in_quotes, min_size=1, max_size=3).map(
            lambda texts: " ".join(f'"{text}"' for text in texts)
        ),
        st.lists(segments, max_size=4).flatmap(lambda inside: _spaced(["<<", *_separated(inside), " >>"])),
        st.sampled_from(["fun lists:map/2", "fun 'a b':'C'/0", "[]", "{}", "#{}"]),
    ),
    _compound,
    max_leaves=15,
)
