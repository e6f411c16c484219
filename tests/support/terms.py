"""Random terms: made by a BEAM, and made by hypothesis."""

from __future__ import annotations

import weakref
from typing import Any

from hypothesis import strategies as st

from quicdist.term import (
    Atom,
    BitString,
    Export,
    ImproperList,
    Map,
    Pid,
    Port,
    Record,
    Reference,
    binary_to_term,
)
from quicdist.term.identity import exact_form
from tests.support.beam import Beam

#: A module: terms/4 makes Count random terms of all types of this BEAM, with up to Depth levels and
#: binaries of up to Largest bytes. ``Any(D)`` is a term with up to D levels below it; Leaf has none.
_RANDOM_TERMS = r"""
-module(random_terms).
-export([terms/4]).
terms(Seed, Count, Depth, Largest) ->
  rand:seed(exsss, Seed),
  R = fun(N) -> rand:uniform(N) - 1 end,
  One = fun(L) -> lists:nth(rand:uniform(length(L)), L) end,
  Times = fun(N, F) -> [F() || _ <- lists:seq(1, N)] end,
  Raw = fun(Parts) -> binary_to_term(iolist_to_binary([131, Parts])) end,
  Name = fun(A) -> <<131, B/binary>> = term_to_binary(A), B end,
  Atoms = [a, ok, undefined, nil, true, false, '', 'hello world', 'Elixir.Enum', '\x{41f}\x{440}',
           '\x{1f600}', 'a@b', list_to_atom(lists:duplicate(255, $\x{41f})), 'Q', '\n', '\x{e5}'],
  Nodes = ['a@127.0.0.1', 'b@\x{e5}'],
  Float = fun F() -> case <<(R(1 bsl 64)):64>> of <<X/float>> -> X; _ -> F() end end,
  Fun = fun(X) -> {ok, T, _} = erl_scan:string("fun(Y) -> {X, Y} end."), {ok, [E]} = erl_parse:parse_exprs(T),
                  {value, V, _} = erl_eval:expr(E, [{'X', X}]), V end,
  Leaf = fun() -> case R(22) of
      0 -> R(256); 1 -> -R(1 bsl One([4, 8, 31, 32, 33, 63, 64])); 2 -> R(1 bsl One([31, 32, 33, 64, 65]));
      3 -> One([1, -1]) * R(1 bsl One([500, 2039, 2040, 2041, 5000]));
      4 -> Float(); 5 -> One([0.0, -0.0, 1.0, 5.0e-324, 1.7976931348623157e308]);
      6 -> One(Atoms); 7 -> One(Atoms); 8 -> rand:bytes(R(20)); 9 -> rand:bytes(One([0, 255, 256, Largest]));
      10 -> <<(rand:bytes(R(9)))/binary, (R(127)):7>>; 11 -> []; 12 -> {}; 13 -> #{};
      14 -> One([self(), Raw([88, Name(One(Nodes)), <<(R(1 bsl 32)):32, (R(9)):32, (R(5)):32>>])]);
      15 -> One([make_ref(), Raw([<<90, 3:16>>, Name(One(Nodes)), <<(R(9)):32, (R(1 bsl 18)):32>>,
                                  <<(R(1 bsl 32)):32, (R(1 bsl 32)):32>>])]);
      16 -> alias();
      17 -> One([hd(erlang:ports()), Raw([89, Name(One(Nodes)), <<(R(1 bsl 28)):32, (R(9)):32>>])]);
      18 -> fun lists:map/2; 19 -> Times(R(10), fun() -> R(256) end);
      20 -> Times(R(300), fun() -> R(300) end); 21 -> Times(R(30), Float)
    end end,
  Any = fun Any(0) -> Leaf();
            Any(D) -> Sub = fun() -> Any(D - 1) end, case R(12) of
      0 -> Leaf(); 1 -> list_to_tuple(Times(R(5), Sub)); 2 -> Times(R(6), Sub);
      3 -> [Sub() | One([a, 1, <<>>])];
      4 -> maps:from_list(Times(R(6), fun() -> {Sub(), Sub()} end));
      5 -> maps:from_list(Times(R(6), fun() -> {One(Atoms), Sub()} end));
      6 -> maps:from_list([{1, Sub()}, {1.0, Sub()}, {[Sub()], a}, {{Sub(), Leaf()}, b}]);
      7 -> list_to_tuple(Times(One([1, 2, 255, 256, 300]), Leaf)); 8 -> Fun(Sub());
      9 -> {'$gen_call', {self(), [alias | make_ref()]}, Sub()};
      10 -> maps:from_list(Times(R(50), fun() -> {Leaf(), Leaf()} end));
      11 -> <<131, X/binary>> = term_to_binary(Sub()),
            case catch Raw([<<67, 2:32, 1>>, Name(geom), Name(vec), Name(x), Name(y), X, 97, 1]) of
              {'EXIT', _} -> [Leaf()]; Native -> Native end
    end end,
  [Any(R(Depth + 1)) || _ <- lists:seq(1, Count)].
"""
_COMPILE = """
(fun(Source) ->
  Forms = (fun Scan(Text) -> case erl_scan:tokens([], Text, 1) of
    {done, {ok, Tokens, _}, Rest} -> {ok, Form} = erl_parse:parse_form(Tokens), [Form | Scan(Rest)];
    _ -> []
  end end)(unicode:characters_to_list(Source)),
  {ok, Module, Code} = compile:forms(Forms),
  {module, _} = code:load_binary(Module, "", Code)
end)(Data)
"""

_loaded: weakref.WeakSet[Beam] = weakref.WeakSet()


def load_random_terms(beam: Beam) -> None:
    """Load the module ``random_terms`` on a BEAM: ``terms(Seed, Count, Depth, Largest)``."""
    if beam not in _loaded:
        beam.eval_now(_COMPILE, _RANDOM_TERMS.encode())
        _loaded.add(beam)


def random_beam_terms(beam: Beam, seed: int, count: int, options: str = "[]") -> list[bytes]:
    """``term_to_binary(T, options)`` of ``count`` random terms; equal for equal seeds on one BEAM."""
    load_random_terms(beam)
    made_there = f"random_terms:terms({seed}, {count}, 4, 70000)"
    source = f"term_to_binary([term_to_binary(T, {options}) || T <- {made_there}])"
    made: list[bytes] = binary_to_term(beam.eval_bytes_now(source, timeout=300))
    return made


# -- by hypothesis ------------------------------------------------------------------------------

_UNDEFINED = Atom("undefined")
_text = st.text(st.characters(codec="utf-8"), max_size=30)
_words = st.integers(0, 0xFFFFFFFF)


def _one_of(values: list[Any]) -> st.SearchStrategy[Any]:
    """Like ``sampled_from``, but with a short repr."""
    return st.integers(0, len(values) - 1).map(values.__getitem__)


_NAMES = ["ok", "undefined", "nil", "true", "", "Elixir.A", "x" * 255, "П" * 255, "😀" * 255]
atoms = st.one_of(_one_of(_NAMES), _text).map(Atom)
_nodes = st.sampled_from(["a@127.0.0.1", "b@å"])  # identifiers of a BEAM's own node would be checked


def _signed(digits: bytes) -> int:
    return int.from_bytes(digits, "big", signed=True)


_EDGES = [
    edge + step for edge in (0, 255, -1, 1 << 31, -(1 << 31), 1 << 2040, -(1 << 2040)) for step in (-1, 0, 1)
]
integers = st.one_of(st.integers(), st.binary(max_size=600).map(_signed), _one_of(_EDGES))
floats = st.floats(allow_nan=False, allow_infinity=False)
pids = st.builds(Pid, _nodes, _words, _words, _words)
# To a BEAM a reference with trailing zero words equals one without them; not in Python.
references = st.builds(
    Reference, _nodes, st.tuples(st.integers(0, (1 << 18) - 1), _words, st.integers(1, 0xFFFFFFFF)), _words
)
ports = st.builds(Port, _nodes, st.integers(0, (1 << 64) - 1), _words)
exports = st.builds(Export, atoms, atoms, st.integers(0, 255))
bitstrings = st.builds(BitString, st.binary(min_size=1, max_size=9), st.integers(1, 7))
leaves = st.one_of(
    integers, floats, atoms, st.booleans(), st.none(), _text, st.binary(max_size=300), pids, references,
    ports, exports, bitstrings, st.lists(st.integers(-1, 300), max_size=40), st.lists(floats, max_size=40),
)  # fmt: skip


def _no_list(term: Any) -> bool:
    return not isinstance(term, (list, ImproperList))


def _distinct(pairs: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Pairs with keys that differ in every OTP from 25 on (0.0 equals -0.0 up to 26)."""
    return list({exact_form(_no_sign(key), _UNDEFINED): (key, value) for key, value in pairs}.values())


def _no_sign(term: Any) -> Any:
    """The term with every -0.0 as 0.0."""
    if isinstance(term, float):
        return term + 0.0
    if isinstance(term, (tuple, list)):
        return type(term)(map(_no_sign, term))
    if isinstance(term, ImproperList):
        return ImproperList(map(_no_sign, term.elements), _no_sign(term.tail))
    if isinstance(term, (dict, Map)):
        return Map([(_no_sign(key), _no_sign(value)) for key, value in term.items()])
    return term


def _compound(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    pairs = st.lists(st.tuples(inner, inner), max_size=5).map(_distinct)
    return st.one_of(
        st.lists(inner, max_size=6),
        st.lists(inner, max_size=6).map(tuple),
        st.builds(ImproperList, st.lists(inner, min_size=1, max_size=4), inner.filter(_no_list)),
        pairs.map(Map),
        st.lists(st.tuples(st.one_of(atoms, _text, integers), inner), max_size=5).map(_distinct).map(dict),
        st.lists(leaves, min_size=250, max_size=260).map(tuple),
    )


#: Terms of all types of OTP 25 and later.
terms = st.recursive(leaves, _compound, max_leaves=25)


@st.composite
def records(draw: st.DrawFn) -> Record:
    """Native records, for OTP 29."""
    names = draw(st.lists(atoms, unique=True, max_size=4))
    fields = [(name, draw(terms)) for name in names]
    return Record(draw(atoms), draw(atoms), fields, exported=draw(st.booleans()))
