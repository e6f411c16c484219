"""Erlang source text read as ``erl_parse`` and ``file:consult`` read it."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from quicdist.term import (
    Atom,
    BitString,
    Export,
    ImproperList,
    Map,
    ParseError,
    Pid,
    Port,
    Record,
    Reference,
    binary_to_term,
    exactly_equal,
    format_term,
    parse_term,
    parse_terms,
)
from quicdist.term.text.lexer import position
from tests.support.beam import Beam
from tests.term.syntax import otp_release, sources

#: ``{ok, Term}``, or ``{error, Line}`` (0 if OTP names none).
ERL_PARSE = """
fun() ->
  Line = fun({L, _}) -> L; (L) -> L end,
  Error = fun({Location, Module, Description}) ->
            lists:flatten(Module:format_error(Description)), {error, Line(Location)}
          end,
  term_to_binary(
    try erl_scan:string(unicode:characters_to_list(Data) ++ " .", {1, 1}) of
      {ok, Tokens, _} ->
        case erl_parse:parse_term(Tokens) of {ok, Term} -> {ok, Term}; {error, E} -> Error(E) end;
      {error, E, _} -> Error(E)
    catch error:badarg -> {error, 0} % OTP 28 and 29 on a float such as 16#0.8#e
    end)
end()
"""


def ask(beam: Beam, text: str) -> tuple[str, Any]:
    kind, value = binary_to_term(beam.eval_bytes_now(ERL_PARSE, text.encode()))
    return kind.name, value


# -- what both read ----------------------------------------------------------------------------

#: Text that OTP reads, and since which release.
READ = {
    25: r"""
        -(1) | - 1 | +1 | -$a | +$a | - 1.5 | -0.0 | (1) | {(a)} | ((((a))))
        "a" "b" | ["a"|"b"] | "\q\z\8" | 'a\x{41}b' | 'a b' | '' | åäö | a@b | 'П' | 'when'
        [1|[2]] | [a|b] | [1,2|3] | [1|[2|3]] | [[]|[]]
        #{} | # {} | #{a=>1,a=>2} | #{1=>a,1.0=>b}
        #{#{}=>[],[a]=>{}} | #{{1}=>a,{1.0}=>b}
        #{1=>a,1=>b,1.0=>c} | #{[]=>1,[]=>2} | #{true=>1,1=>2}
        fun lists:map/2 | fun 'a b':'C'/1
        <<>> | <<1,2,3>> | <<1:4,2:4>> | <<1:12/little>> | <<1:4>> | <<"abc">> | <<"П">> | <<"ab":16>>
        <<"å"/utf8>> | <<"ab"/utf16>> | <<"ab"/utf16-little>> | <<"ab"/utf32-little>>
        <<1.5/float>> | <<1/float>> | <<1.5:32/float>> | <<1.5:16/float>> | <<1:64/float-little>>
        <<1.0e300:32/float>> | <<-1.0e300:32/float>> | <<70000:16/float>>
        <<<<1,2>>/binary>> | <<<<1,2>>:1/binary>> | <<<<1,2:3>>/bits>> | <<<<1,2:3>>/bitstring>>
        << <<1>>/bytes, 2 >>
        <<1:3,<<1,2,3:5>>/bits,7:7>> | <<1:3,"abc",0:5>> | <<1:1,(<<255,255>>):9/bits>>
        <<<<1,2>>/binary-unit:16>> | <<1:100/little,1:4>> | <<-5:9/little>>
        <<(1)>> | <<(1):(16)>> | <<-1>> | <<-1:16/signed-little>> | <<-1:16/signed-signed>> | <<1:2/unit:8>>
        <<1:2/integer-unit:8-unit:8>> | <<1:0>> | <<1:$a>> | <<$a>> | <<16#10FFFF/utf8>> | <<16#FFFE/utf8>>
        <<1:16/native>> | <<"">> | <<""/utf8>> | <<"a" "b">> | <<(("a"))>> | <<1 >> | <<""/integer>>
        1.0e-400 | 1_000 | 1_000.5_5e1_0 | 16#ff | 16#FF_ff | 36#ZZ | 1_6#f | 007
        $a | $\n | $\x{41} | $\x41 | $\101 | $\400 | $\777 | $\^a | $\q | $\s | $\d | $\" | $' | $" | $\e
        {} | [] | {{},[]} | {a,b,'C',"d",$e,1.0,<<>>,#{}}
    """,
    27: r"""
        ~"abc" | ~b"a\tb" | ~B"a\tb" | ~s"a\tb" | ~S"a\tb" | ~S"a\" | ~B(a\) | ~(abc) | ~[a(b] | ~{é} | ~<a>
        ~/a/ | ~|a| | ~'a' | ~{\x{41}} | ~[\^]] | <<~"ab"/binary>> | <<~s"ab">> | ~"é" | ~""
        #{0.0=>a,-0.0=>b} | $\^? | "\^\" | ~"\^\"
    """,
    28: r"""
        16#0.8#e3 | 2#1.1 | 10#1.5#e3 | 16#0.8 | 16#1.8e3 | 3#2.1#e-1_0 | 36#z.z | 2#1_0.0_1#E+1
    """,
}
MULTILINE = {
    25: ['"a"\n"b"', '"a\nb"', "{a,\n% comment\nb}", "$\n", '"a\\\nb"', "'\n'", "[\r\n]"],
    27: [
        '"""\nabc\n"""',
        '"""\n  abc\n    def\n  """',
        '""" \t\n"""',
        '"""\n\n"""',
        '""""\n"""\n""""',
        '"""\n  a\n\n  b\n  """',
        '"""\r\n  a\r\n  """',
        '~s"""\n  a\\tb\\x{41}\n  """',
        '~"""\n  a\\tb\n  """',
        '~b"""\n  a\\\n  b\n  """',
        '~S"""\n\ta\n\t"""',
        '~B"""\n"\n""\n"""',
        '"""\na\n""" "b"',
        '~s"""\n\\s\\sa\n  b\n  """',
    ],
}


def all_read() -> list[tuple[str, int]]:
    found = []
    for since, lines in READ.items():
        found += [(text.strip(), since) for line in lines.strip().splitlines() for text in line.split(" | ")]
    return found + [(text, since) for since, texts in MULTILINE.items() for text in texts]


@pytest.mark.beam
def test_the_forms_of_a_term_are_read_as_otp_reads_them(beam: Beam) -> None:
    release = otp_release()
    asked = 0
    for text, since in all_read():
        term = parse_term(text)
        if release >= since:
            verdict, expected = ask(beam, text)
            assert verdict == "ok", text
            assert exactly_equal(term, expected), (text, term, expected)
            asked += 1
    assert asked >= 100


@pytest.mark.beam
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=sources)
def test_any_source_of_a_term_is_read_as_otp_reads_it(beam: Beam, text: str) -> None:
    term = parse_term(text)
    # Before OTP 27 -0.0 was the key that 0.0 is.
    assume(otp_release() >= 27 or "-0.0" not in format_term(term))
    verdict, expected = ask(beam, text)
    assert verdict == "ok"
    assert exactly_equal(term, expected)


@pytest.mark.beam
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sigil=st.sampled_from(["", "~", "~s", "~b", "~S", "~B", "~x"]),
    opening=st.sampled_from(['"""\n', '"""\n', '"""\n', '""" \t\r\n', '""""\n', '"', "(", "<", "'", "|"]),
    content=st.lists(
        st.sampled_from(
            ["  ", "  ", "\n", "\n  ", "\r\n", "a", "é", '"', '""', "'", ")", ">", "\\", "\\n", "\\x{41}"]
        ),
        max_size=12,
    ).map("".join),
    closing=st.sampled_from(['\n"""', '\n  """', '\n  """', '\n""""', '"', ")", ">", "'", "|"]),
)
def test_sigils_and_triple_quoted_strings(
    beam: Beam, sigil: str, opening: str, content: str, closing: str
) -> None:
    if otp_release() < 27:
        pytest.skip("OTP 27 brought sigils and triple-quoted strings")
    text = f"{sigil}{opening}{content}{closing}"
    verdict, expected = ask(beam, text)
    if verdict == "ok":
        assert exactly_equal(parse_term(text), expected)
    else:
        refused(text)


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("'Elixir.User'", Atom("Elixir.User")),
        ("{true, false, undefined, nil}", (True, False, None, Atom("nil"))),
        ('"abc"', [97, 98, 99]),
        ('<<"abc">>', b"abc"),
        ("<<5:3>>", BitString(b"\xa0", 3)),
        ("[a|b]", ImproperList([Atom("a")], Atom("b"))),
        ('#{a => 1, <<"b">> => [2]}', {Atom("a"): 1, b"b": [2]}),
        ("#{1 => a, 1.0 => b}", Map([(1, Atom("a")), (1.0, Atom("b"))])),
        ("#{[] => a}", Map([([], Atom("a"))])),
        ("fun lists:map/2", Export("lists", "map", 2)),
        # Reserved only since OTP 27: older files have them bare.
        ("{maybe, else}", (Atom("maybe"), Atom("else"))),
        ("#geom:vec{x = 1.0,'Y' = []}", Record("geom", "vec", {"x": 1.0, "Y": []})),
        ("#m:r{}", Record("m", "r")),
        ("a.", Atom("a")),
        ("a . % and a comment", Atom("a")),
    ],
)
def test_source_text_becomes_the_expected_term(text: str, term: Any) -> None:
    assert exactly_equal(parse_term(text), term)


def test_the_atom_for_none_is_an_option() -> None:
    assert parse_term("[nil,undefined]", none="nil") == [None, Atom("undefined")]


# -- what a BEAM prints and does not read -----------------------------------------------------


def test_identifiers_of_a_given_node() -> None:
    text = "[<0.88.1>,#Port<0.5>,#Ref<0.3.2.1>,#Ref<0.0.1283.3.2.1>,<a@h.1.0>,<'b@1.2'.1.0>]"
    assert parse_term(text, node="a@h", creation=7) == [
        Pid("a@h", 88, 1, 7),
        Port("a@h", 5, 7),
        Reference("a@h", (1, 2, 3), 7),
        Reference("a@h", (1, 2, 3, 1283, 0), 7),
        Pid("a@h", 1, 0, 7),
        Pid("b@1.2", 1, 0, 0),
    ]


@pytest.mark.parametrize("text", ["<0.88.1>", "#Port<0.5>", "#Ref<0.3.2.1>"])
def test_identifiers_of_no_node_are_refused(text: str) -> None:
    with pytest.raises(ParseError, match="belongs to the node that printed it, and none was given"):
        parse_term(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<9001.88.1>", "only the BEAM that printed the pid knows which node 9001 is"),
        ("<0.4294967296.0>", "no pid: id is a number of 32 bits"),
        ("#Ref<0.1.2.3.4.5.6>", "a local fun|expected '{' of a map"),
        ("#Fun<erl_eval.6.99386804>", "a local fun cannot be read"),
    ],
)
def test_identifiers_that_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(ParseError, match=message):
        parse_term(text, node="a@h")


# -- what both refuse --------------------------------------------------------------------------

#: Text that is no term, and where that shows.
REFUSED = {
    "": (1, 1),
    "% only a comment": (1, 17),
    "Abc": (1, 1),
    "_": (1, 1),
    "П": (1, 1),
    "a b": (1, 3),
    "a,b": (1, 2),
    "a.b": (1, 2),
    "a:b": (1, 2),
    "f()": (1, 2),
    "1+2": (1, 2),
    '"a"++"b"': (1, 4),
    "- -1": (1, 1),
    "+-1": (1, 1),
    "--1": (1, 1),
    "-a": (1, 1),
    "not a": (1, 1),
    "when": (1, 1),
    "begin 1 end": (1, 1),
    "?MODULE": (1, 1),
    "}": (1, 1),
    "()": (1, 2),
    "(1": (1, 3),
    "{a": (1, 3),
    "{a,": (1, 4),
    "{1,}": (1, 4),
    "{,}": (1, 2),
    "{a;b}": (1, 3),
    "[a": (1, 3),
    "[|a]": (1, 2),
    "[1,]": (1, 4),
    "[a|b,c]": (1, 5),
    "[a|b|c]": (1, 5),
    "[a||b]": (1, 3),
    "{a,\n [b,\n  }": (3, 3),
    "#{a:=1}": (1, 4),
    "#{a=>1,}": (1, 8),
    "#{a=>1 b=>2}": (1, 8),
    "#{a}": (1, 4),
    "#r{a=1}": (1, 3),
    "#{a => 1}#{b => 2}": (1, 10),
    "fun": (1, 4),
    "fun map/2": (1, 8),
    "fun () -> ok end": (1, 5),
    "fun lists:map/X": (1, 15),
    "fun lists:map/-1": (1, 15),
    "fun lists:map/256": (1, 15),
    "fun lists:map/$a": (1, 15),
    "<<": (1, 3),
    "<<1": (1, 4),
    "<<1>": (1, 4),
    "< <1>>": (1, 1),
    "<<1:1:1>>": (1, 6),
    "<<1:-8>>": (1, 5),
    "<<1:(-1)>>": (1, 3),
    "<<1:a>>": (1, 3),
    "<<1.5>>": (1, 3),
    "<<2,[1]>>": (1, 5),
    "<<a>>": (1, 3),
    '<<"abc"/binary>>': (1, 3),
    "<<<<1,2>>>>": (1, 3),
    "<<<<1,2>>:3/binary>>": (1, 3),
    "<<<<1,2:3>>/binary>>": (1, 3),
    "<<1:1/binary>>": (1, 3),
    "<<70000/float-size:16>>": (1, 19),
    "<<1:17/float>>": (1, 3),
    "<<1:16/big-little>>": (1, 3),
    "<<1:16/integer-float>>": (1, 3),
    "<<1:16/unit:8-unit:4>>": (1, 3),
    "<<<<1>>/bytes-unit:1>>": (1, 3),
    "<<1/unit:8>>": (1, 3),
    "<<1/foo>>": (1, 3),
    "<<1:8/unit:300>>": (1, 3),
    "<<1:8/unit:0>>": (1, 3),
    "<<16#D800/utf8>>": (1, 3),
    "<<16#110000/utf8>>": (1, 3),
    "<<65:16/utf8>>": (1, 3),
    "<<65/utf8-unit:8>>": (1, 3),
    '<<""/binary>>': (1, 3),
    "1.0e400": (1, 1),
    "1.5e": (1, 1),
    "1e5": (1, 1),
    "1__0": (1, 1),
    "1_": (1, 1),
    "37#1": (1, 1),
    "1#0": (1, 1),
    "16#": (1, 1),
    "16#g": (1, 1),
    "16#ffg": (1, 1),
    "2#2": (1, 1),
    "16#0.8#e": (1, 1),
    "1.5.6": (1, 4),
    "{$": (1, 2),
    "$\\x4": (1, 2),
    "$\\x{110000}": (1, 2),
    "$\\x{d800}": (1, 2),
    '"\\x{}"': (1, 2),
    '"ab\n\\x{}"': (2, 1),
    '"abc': (1, 1),
    "'abc": (1, 1),
    '"\\': (1, 1),
    "<0.1.2>": (1, 1),
    "~": (1, 2),
    "~s x": (1, 3),
    "~s(a": (1, 3),
    '~x"abc"': (1, 1),
    '~"abc"x': (1, 7),
    '"a" ~s"b"': (1, 5),
    '~s"a" "b"': (1, 7),
    f"'{'a' * 256}'": (1, 1),
    "a" * 256: (1, 1),
    "9" * 1_300_000: (1, 1),
}
#: The same, but OTP read it before this release.
REFUSED_SINCE = {
    '"a""b"': (27, (1, 4)),
    '"""x\nabc\n"""': (27, (1, 4)),
    '"""abc"""': (27, (1, 1)),
    '"""\n abc\n  """': (27, (2, 1)),
    "$\\^!": (27, (1, 2)),
}


def refused(text: str) -> ParseError:
    with pytest.raises(ParseError) as caught:
        parse_term(text)
    return caught.value


@pytest.mark.parametrize(
    "text", [text if len(text) < 300 else pytest.param(text, id="long") for text in REFUSED]
)
def test_what_is_no_term_is_refused_where_it_shows(text: str) -> None:
    error = refused(text)
    assert (error.line, error.column) == REFUSED[text]
    assert str(error).startswith(f"{error.line}:{error.column}: ")
    assert len(str(error)) < 250


@pytest.mark.parametrize("text", REFUSED_SINCE)
def test_what_is_no_term_any_more_is_refused_too(text: str) -> None:
    error = refused(text)
    assert (error.line, error.column) == REFUSED_SINCE[text][1]


@pytest.mark.beam
def test_otp_refuses_the_same_in_the_same_lines(beam: Beam) -> None:
    release = otp_release()
    old = [text for text, (since, _) in REFUSED_SINCE.items() if release >= since]
    for text in [*REFUSED, *old]:
        # OTP 25 allows more digits, and lets an atom's end of 256 characters be an exit.
        if len(text) > 1000:
            continue
        verdict, line = ask(beam, text)
        assert verdict == "error", text
        # It has no location for what ends too early, or one in the full stop added there; and it
        # blames the whole term where a part of it is bad.
        if line:
            assert 1 <= line <= text.count("\n") + 1, text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{a", "1:3: expected ',' or '}' in a tuple, got the end of the text"),
        ("[a}", "1:3: expected ',', '|' or ']' in a list, got '}'"),
        ("{Abc}", "1:2: expected a term, got the variable Abc (an atom that begins so must be quoted)"),
        ("{end}", "1:2: expected a term, got the reserved word end (as an atom it must be quoted)"),
        ("a b", "1:3: expected the end of the text after one term, got the atom b"),
        ("<<1:7/float>>", "1:3: bad segment: a float has 16, 32 or 64 bits, not 7"),
        ("16#fg", "1:1: illegal integer: 'fg' are not digits of base 16"),
        ("37#1", "1:1: illegal base 37: it must be 2 to 36"),
        ("#m:r{x = 1,x = 2}", "1:18: not a native record: a record cannot have a field twice"),
    ],
)
def test_a_parse_error_has_the_expected_text(text: str, message: str) -> None:
    assert str(refused(text)) == message


# -- files of terms ----------------------------------------------------------------------------

SYS_CONFIG = """\
%% The cluster's own configuration.
[
 {quic, [
   {dist, [
     {cert_file, "/etc/quic/cert.pem"},
     {verify, verify_peer},
     {nodes, [{'a@h', {"10.0.0.1", 4433}},     % one
              {'b@h', {{10,0,0,2}, 16#1151}}]} % two
   ]}
 ]},
 {kernel, [{inet_dist_use_interface, {127,0,0,1}}, {logger_level, $a}]}
].
"""
THE_ISSUES = """{quic, [{dist, [{nodes, [{'a@h', {"10.0.0.1", 4433}}]}]}]}."""

FILES = [SYS_CONFIG, THE_ISSUES, "", "% nothing\n", "a. b.\n{c}.", 'a.%\n"b".\n\n', "1.5. $. .\n'.'."]

CONSULT = """
fun() ->
  File = filename:join("/tmp", "consult-" ++ os:getpid() ++ ".config"),
  ok = file:write_file(File, Data),
  Result = file:consult(File),
  file:delete(File),
  term_to_binary(Result)
end()
"""


@pytest.mark.beam
@pytest.mark.parametrize("text", FILES)
def test_files_of_terms_are_read_as_by_file_consult(beam: Beam, text: str) -> None:
    verdict, expected = binary_to_term(beam.eval_bytes_now(CONSULT, text.encode()))
    assert verdict == Atom("ok")
    assert exactly_equal(parse_terms(text), expected)


def test_a_sys_config_with_node_addresses_is_read() -> None:
    [(application, [(dist, [(nodes, [(name, address)])])])] = parse_terms(THE_ISSUES)
    assert (application, dist, nodes, name) == tuple(map(Atom, ("quic", "dist", "nodes", "a@h")))
    assert address == ([ord(character) for character in "10.0.0.1"], 4433)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a. b", (1, 5)),
        ("a b.", (1, 3)),
        ("a.\n{b,.\n", (2, 4)),
        (".", (1, 1)),
        ("a..", (1, 2)),
        ("a.\n'b", (2, 1)),
    ],
)
def test_invalid_files_are_parse_errors_with_their_place(text: str, place: tuple[int, int]) -> None:
    with pytest.raises(ParseError) as caught:
        parse_terms(text)
    assert (caught.value.line, caught.value.column) == place


# -- bounds ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("opening", "closing"), ["[]", "{}", ("#{a=>", "}"), ("<<", "/bits>>"), "()", ("[a|", "]")]
)
def test_depth_is_a_number_and_not_pythons_stack(opening: str, closing: str) -> None:
    inside = "<<>>" if opening == "<<" else "{}"
    deep = opening * 10_000 + inside + closing * 10_000
    term = parse_term(deep)
    if opening not in ("<<", "(", "[a|"):
        assert format_term(term).replace(" ", "") == deep
    for more in (opening + deep + closing, opening * 1_000_000):
        with pytest.raises(ParseError, match="terms nested deeper than 10000"):
            parse_term(more)
    assert parse_term("[[a]]", max_depth=2) == [[Atom("a")]]
    with pytest.raises(ParseError, match="1:3: terms nested deeper than 2"):
        parse_term("[[[a]]]", max_depth=2)


def test_deep_and_equal_keys_of_maps_are_read() -> None:
    key = "{" * 9_000 + "}" * 9_000
    assert len(parse_term(f"#{{{key} => 1, {key} => 2}}")) == 1
    assert len(parse_term(f"#{{{key} => 1, 1 => 2, 1.0 => 3}}")) == 3
    assert len(parse_term(f"#{{{'[' * 9_000}{']' * 9_000} => 1}}")) == 1


def test_binaries_cannot_be_asked_for_without_end() -> None:
    for text in ("<<0:99999999999>>", "<<0:(16#ffffffff)/unit:256>>", f"<<{','.join(['0:500000000'] * 9)}>>"):
        with pytest.raises(ParseError, match="bad segment"):
            parse_term(text)


@given(
    st.lists(
        st.sampled_from(
            [
                *"[]{}()<>|,.:;/#'\"$%~\\-+=_ \n",
                "<<",
                ">>",
                "=>",
                "#{",
                '"""',
                "a",
                "Z",
                "0",
                "16#",
                "1.5",
                "fun ",
                "/utf8",
                "Я",
            ]
        ),
        max_size=25,
    )
)
def test_any_text_is_a_term_or_a_parse_error(parts: list[str]) -> None:
    text = "".join(parts)
    try:
        term = parse_term(text)
    except ParseError as error:
        place = error.line, error.column
    else:
        assert exactly_equal(parse_term(format_term(term)), term)
        place = 1, 1
    assert (1, 1) <= place <= position(text, len(text))


# -- the page about it -------------------------------------------------------------------------


def test_the_examples_in_the_documentation() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "term-syntax.md"
    result = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert result.attempted >= 8
    assert result.failed == 0
