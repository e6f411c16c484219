"""Records of a header file, as Python reads them and as a BEAM does."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

from quicdist.term import (
    Atom,
    ParseError,
    TermError,
    TupleRecord,
    binary_to_term,
    parse_records,
    read_records,
    term_to_binary,
)
from tests.support.beam import Beam

HEADER = r"""
%% A header as they are: -record(not_this, {in, a, comment}).
-ifndef(SHOP_HRL).
-define(SHOP_HRL, 1).
-include("types.hrl").

-define(TIMEOUT, 5000).
-define(LIMITS, [{timeout, ?TIMEOUT}, {size, 10}]).
-define(SQUARE(X), X * X).
-type name() :: binary() | undefined.
-export_type([name/0]).

-record(person, {name :: name(),
                 age = 0 :: non_neg_integer(),     % a comment, with a comma
                 'E-mail' = <<"nobody@h">>,
                 tags = [] :: [atom() | {atom(), #{atom() => term()}}]}).

-record(order, {
    id,
    buyer = undefined :: #person{} | undefined,
    limits = ?LIMITS,
    text = "a, \"b\" }. " "c" :: string(),
    comma = $,,
    brace = $},
    map = #{a => {1, [2]}, <<"k">> => 16#ff},
    price = -1.5e3,
    check = fun erlang:is_list/1 :: fun((term(), term()) -> boolean()),
    ratio :: 1..10,
    last = 'an atom, quoted'
}).

-record(empty, {}).

-ifdef(NOT_DEFINED).
-record(person, {twice}).
-else.
-record(seen, {yes = true}).
-endif.

-ifdef(TIMEOUT).
-record(computed, {now = erlang:system_time(), product = 60 * 1000 :: integer(),
                   run = fun(A, B) -> {A, B} end, square = ?SQUARE(2), ok = fine}).
-undef(TIMEOUT).
-endif.

-spec twice(X :: integer()) -> integer().
twice(X) -> 2 * X.
-endif. % SHOP_HRL
"""

RECORDS = parse_records(HEADER)


def test_a_header_gives_a_class_for_each_record_that_counts() -> None:
    assert list(RECORDS) == ["person", "order", "empty", "seen", "computed"]
    assert RECORDS.person is RECORDS["person"]
    assert RECORDS.person._fields == ("name", "age", "E-mail", "tags")


def test_a_record_is_the_tuple_with_its_name_first_and_fields_as_attributes() -> None:
    ada = RECORDS.person("Ada", tags=[Atom("new")])
    assert (ada.name, ada.age, getattr(ada, "E-mail")) == ("Ada", 0, b"nobody@h")
    assert ada == (Atom("person"), "Ada", 0, b"nobody@h", [Atom("new")])
    assert repr(RECORDS.seen()) == "seen(yes=True)"
    assert RECORDS.empty() == (Atom("empty"),)


def test_a_record_can_be_matched_copied_replaced_and_pickled() -> None:
    ada = RECORDS.person("Ada", 36)
    match ada:
        case RECORDS.person(name=name, age=36):
            assert name == "Ada"
        case _:
            pytest.fail("no match")
    assert ada._replace(age=37) == (Atom("person"), "Ada", 37, b"nobody@h", [])
    assert ada._asdict() == {"name": "Ada", "age": 36, "E-mail": b"nobody@h", "tags": []}
    assert type(copy.deepcopy(ada)) is RECORDS.person
    assert pickle.loads(pickle.dumps(LOOKUP())) == LOOKUP()


LOOKUP = TupleRecord.define("LOOKUP", ["key"])
LOOKUP.__module__ = __name__


def test_each_instance_has_lists_and_maps_of_its_own() -> None:
    RECORDS.person().tags.append(1)
    assert RECORDS.person().tags == []


def test_a_tuple_from_a_beam_becomes_the_record_that_it_is() -> None:
    sent = term_to_binary(RECORDS.order(1, RECORDS.person("Ada"), ratio=3))
    order = RECORDS.from_term([{Atom("order"): binary_to_term(sent)}])[0][Atom("order")]
    assert (type(order), type(order.buyer)) == (RECORDS.order, RECORDS.person)
    assert order.buyer.name == b"Ada"
    assert RECORDS.from_term((Atom("person"), 1)) == (Atom("person"), 1)  # a tuple of another size
    assert type(RECORDS.from_term((Atom("person"), 1))) is tuple


@pytest.mark.parametrize(
    "term", [(Atom("person"), 1), (Atom("order"), 1, 2, 3, 4), [Atom("person")], b"person"]
)
def test_what_is_not_the_record_is_refused_by_its_class(term: Any) -> None:
    with pytest.raises(TermError, match="expected a record person of 4 fields, got "):
        RECORDS.person.from_term(term)


@pytest.mark.parametrize(
    ("values", "fields", "says"),
    [
        ((1, 2, 3, 4, 5), {}, "record person has 4 fields, 5 values were given"),
        ((1,), {"name": 2}, "record person got the field name twice"),
        ((), {"nickname": 2}, "record person has no field nickname"),
    ],
)
def test_wrong_fields_are_a_type_error(values: tuple[Any, ...], fields: dict[str, Any], says: str) -> None:
    with pytest.raises(TypeError, match=says):
        RECORDS.person(*values, **fields)


def test_a_field_whose_default_is_an_expression_has_to_be_given() -> None:
    given = {"now": 1, "product": 60_000, "run": None, "square": 4}
    assert RECORDS.computed(**given).ok == Atom("fine")
    for field, source in [
        ("now", r"erlang:system_time\(\)"),
        ("product", r"60 \* 1000"),
        ("square", r"\?SQUARE\(2\)"),
    ]:
        with pytest.raises(TypeError, match=f"record computed needs {field}: .*: {source}"):
            RECORDS.computed(**{name: value for name, value in given.items() if name != field})


def test_macros_defined_elsewhere_can_be_given() -> None:
    text = "-ifdef(DEBUG).\n-record(r, {level = ?LEVEL, who = ?'Who'}).\n-endif.\n"
    assert len(parse_records(text)) == 0
    records = parse_records(
        text, macros={"DEBUG": True, "LEVEL": {Atom("a"): [1, b"x"]}, "Who": Atom("it's me")}
    )
    assert records.r() == (Atom("r"), {Atom("a"): [1, b"x"]}, Atom("it's me"))
    with pytest.raises(TypeError, match=r"its default is an expression: \?LEVEL"):
        parse_records("-record(r, {level = ?LEVEL}).").r()


def test_macros_that_stand_for_themselves_are_no_term() -> None:
    records = parse_records("-define(A, ?B).\n-define(B, ?A).\n-record(r, {a = ?A}).")
    assert records.r._required == {"a": "?A"}


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("-record(r, {a}).\n\n-record(r, {b}).", 3, "record r is defined twice"),
        ("\n-record(R, {a}).", 2, "the name of a record expected"),
        ("\n-record(r, [a]).", 2, "the fields of record r expected in braces"),
        ("-record(r, {a,\nB}).", 2, "the name of a field of record r expected"),
        ("-record(r, {a b}).", 1, "= or :: expected after the field a"),
        ("-record(r, {a, a}).", 1, "record r has a field twice"),
        ("-record(r, {'_fields'}).", 1, "record r cannot have a field called _fields"),
        ("\n-if(?OTP_RELEASE > 25).\n-endif.", 2, "the condition of -if is an expression"),
        ("-ifdef(X).\n", 2, "-ifdef without -endif"),
        ("-endif.", 1, "-endif without -ifdef"),
        ("-record(r, {a})", 1, "no full stop after this"),
    ],
)
def test_a_header_that_cannot_be_read_is_a_parse_error_with_its_line(text: str, line: int, says: str) -> None:
    with pytest.raises(ParseError, match=says) as caught:
        parse_records(text)
    assert caught.value.line == line


def test_the_file_is_named_in_the_notes_of_an_error(tmp_path: Path) -> None:
    path = tmp_path / "bad.hrl"
    path.write_text("-endif.")
    with pytest.raises(ParseError) as caught:
        read_records(path)
    assert caught.value.__notes__ == [f"in {path}"]


#: A module that returns its records with their defaults, and with every field set.
MODULE = r"""
-module(shop).
-export([defaults/0, filled/0, read/1]).
-include("shop.hrl").
defaults() -> [#person{}, #order{}, #empty{}, #seen{}].
filled() -> [#person{name = <<"Ada">>, age = 36, 'E-mail' = "x", tags = [a]},
             #computed{now = 1, product = 2, run = 3, square = 4}].
read(#person{name = Name, age = Age, 'E-mail' = Mail, tags = Tags}) -> {Name, Age, Mail, Tags};
read(#order{id = Id, buyer = #person{name = Name}, last = Last}) -> {Id, Name, Last}.
"""


@pytest.fixture
def shop(beam: Beam, tmp_path: Path) -> Beam:
    (tmp_path / "shop.hrl").write_text(HEADER)
    (tmp_path / "types.hrl").write_text("")
    (tmp_path / "shop.erl").write_text(MODULE)
    compiled = beam.eval_now(
        f'(fun() -> {{ok, Module, Code}} = compile:file("{tmp_path}/shop.erl", [binary]), '
        'code:load_binary(Module, "shop.erl", Code) end)()'
    )
    assert compiled == "{module,shop}"
    return beam


@pytest.mark.beam
def test_records_and_their_defaults_are_those_of_a_beam(shop: Beam, tmp_path: Path) -> None:
    records = read_records(tmp_path / "shop.hrl")
    theirs = binary_to_term(shop.eval_bytes_now("term_to_binary(shop:defaults())"))
    assert theirs == [records.person(), records.order(), records.empty(), records.seen()]
    filled = binary_to_term(shop.eval_bytes_now("term_to_binary(shop:filled())"))
    ada, computed = records.from_term(filled)
    assert ada == records.person(b"Ada", 36, [ord("x")], [Atom("a")])
    assert (type(ada), type(computed), computed._asdict()) == (
        records.person,
        records.computed,
        {"now": 1, "product": 2, "run": 3, "square": 4, "ok": Atom("fine")},
    )


@pytest.mark.beam
def test_a_beam_matches_the_records_made_here(shop: Beam) -> None:
    ada = RECORDS.person(name="Ada", tags=[Atom("new")])
    read = 'io_lib:format("~0tp", [shop:read(binary_to_term(Data))])'
    for record, expected in [
        (ada, '{<<"Ada">>,0,<<"nobody@h">>,[new]}'),
        (RECORDS.order(7, ada), "{7,<<\"Ada\">>,'an atom, quoted'}"),
    ]:
        assert shop.eval_bytes_now(f"iolist_to_binary({read})", term_to_binary(record)).decode() == expected
