"""Random terms in both directions; the BEAM does the comparing."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from quicdist.term import (
    Atom,
    BitString,
    Codec,
    Export,
    ImproperList,
    Map,
    Pid,
    Port,
    Record,
    Reference,
    binary_to_term,
    exactly_equal,
    sort_key,
    term_to_binary,
)
from quicdist.term.etf.decoder import Decoder
from quicdist.term.etf.encoder import Encoder
from quicdist.term.identity import exact_form
from quicdist.term.limits import Limits
from tests.support.beam import Beam, erl_facts
from tests.support.terms import random_beam_terms, records, terms

_UNDEFINED = Atom("undefined")
#: The numbers (from 1) of the terms that are not the same in two lists of external forms.
_DIFFERING = """
(fun({As, Bs}) -> [{N, A, B} || {N, {A, B}} <- lists:enumerate(lists:zip(As, Bs)),
                   binary_to_term(A) =/= binary_to_term(B)] end)(binary_to_term(Data))
"""


def same(one: Any, other: Any) -> bool:
    return exact_form(one, _UNDEFINED) == exact_form(other, _UNDEFINED)


def careful_encode(term: Any) -> bytes:
    parts: list[bytes] = []
    Encoder(_UNDEFINED, Limits(), False).encode_into(term, parts)
    return b"".join(parts)


@pytest.mark.beam
@pytest.mark.parametrize("options", ["[]", "[compressed]", "[{minor_version,1}]", "[deterministic]"])
def test_a_beams_random_terms_come_back_the_same(beam: Beam, options: str) -> None:
    seed = random.randrange(1 << 30)
    made = random_beam_terms(beam, seed, 150, options)
    back = []
    for etf in made:
        term = binary_to_term(etf)
        back.append(term_to_binary(term))
        if etf[1] != 80:
            assert same(Decoder(_UNDEFINED, Limits()).decode(etf, 1)[0], term)
            assert same(binary_to_term(bytearray(etf)), term)
        assert same(binary_to_term(b"\x83" + careful_encode(term)), term)
    assert beam.eval_now(_DIFFERING, term_to_binary((made, back))) == "[]", f"seed {seed}"


def _has_maps_in_keys(term: Any, in_key: bool = False) -> bool:
    if isinstance(term, (dict, Map)):
        return (in_key and len(term) > 1) or any(
            _has_maps_in_keys(key, True) or _has_maps_in_keys(value, in_key) for key, value in term.items()
        )
    if isinstance(term, ImproperList):
        return any(_has_maps_in_keys(part, in_key) for part in (*term.elements, term.tail))
    if isinstance(term, Record):
        return any(_has_maps_in_keys(part, in_key) for part in term.fields.values())
    return isinstance(term, (tuple, list)) and any(_has_maps_in_keys(part, in_key) for part in term)


@pytest.mark.beam
def test_deterministic_bytes_are_those_of_otp(beam: Beam) -> None:
    otp, _ = erl_facts()
    seed = random.randrange(1 << 30)
    compared = 0
    for etf in random_beam_terms(beam, seed, 200, "[deterministic]"):
        term = binary_to_term(etf)
        if _has_maps_in_keys(term):
            continue  # OTP 26 and later put such keys in an order that depends on their atom table
        compared += 1
        ours = term_to_binary(term, deterministic=True)
        if otp >= 26:
            assert ours == etf, f"seed {seed}"
        else:  # which writes atoms as Latin-1; but maps are read in the order in which they are written
            assert repr(binary_to_term(ours)) == repr(term), f"seed {seed}"
    assert compared > 100


@pytest.mark.beam
def test_a_beams_random_terms_are_sorted_as_it_sorts_them(beam: Beam) -> None:
    seed = random.randrange(1 << 30)
    made = random_beam_terms(beam, seed, 300)
    order = beam.eval_bytes_now(
        "term_to_binary([N || {_, N} <- lists:keysort(1, [{binary_to_term(B), N} || "
        "{N, B} <- lists:enumerate(0, binary_to_term(Data))])])",
        term_to_binary(made),
    )
    keys = [sort_key(binary_to_term(etf)) for etf in made]
    assert sorted(range(len(made)), key=keys.__getitem__) == binary_to_term(order), f"seed {seed}"


@pytest.mark.beam
def test_what_is_almost_the_same_is_sorted_as_a_beam_sorts_it(beam: Beam) -> None:
    seed = random.randrange(1 << 30)
    rnd = random.Random(seed)

    def node() -> str:
        return rnd.choice(["a@h", "b@h", "a@hh"])

    def number() -> int:
        return rnd.choice([1, 2, 3, 0x7FFFFFFF, 0xFFFFFFFF])

    def leaf() -> Any:
        return rnd.choice(
            [0, 1, 1.0, -1, 0.5, 2**60, 2.0**60, 2**60 + 1, Atom("a"), Atom("b"), [], b"", b"a"]
        )

    made: list[Any] = []
    for _ in range(60):
        words = tuple(rnd.choice([1, 2, 70000]) for _ in range(rnd.choice([3, 3, 4, 5])))
        few = [leaf() for _ in range(rnd.randrange(4))]
        made += [
            Pid(node(), number(), number(), number()),
            Port(node(), number() & 0xFFFFFFF, number()),
            Reference(node(), words, number()),
            Export(rnd.choice("ab"), rnd.choice("ab"), rnd.randrange(2)),
            few,
            tuple(few),
            {**dict.fromkeys(few[:1] if few[:1] != [[]] else (), leaf()), rnd.choice([1, 2.0, 3]): leaf()},
            Map([(1, leaf()), (rnd.choice([1.0, 2.0, 2]), leaf()), ([leaf()], leaf())]),
            ImproperList([leaf(), leaf()], rnd.choice([1, Atom("a"), b""])),
            BitString(bytes((rnd.randrange(256), 0x80)), rnd.choice([1, 2, 7])),
            leaf(),
        ]
        if erl_facts()[0] >= 29:
            fields = rnd.sample("xyz", rnd.randrange(4))
            record = {field: leaf() for field in fields}
            made.append(Record(rnd.choice("ab"), rnd.choice("ab"), record, exported=rnd.random() < 0.5))
    order = beam.eval_bytes_now(
        "term_to_binary([N || {_, N} <- lists:keysort(1, lists:zip(binary_to_term(Data), "
        f"lists:seq(0, {len(made) - 1})))])",
        term_to_binary(made),
    )
    keys = [sort_key(term) for term in made]
    assert sorted(range(len(made)), key=keys.__getitem__) == binary_to_term(order), f"seed {seed}"


@pytest.mark.beam
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(term=terms)
def test_terms_made_here_come_back_the_same(beam: Beam, term: Any) -> None:
    etf = term_to_binary(term)
    back = beam.eval_bytes_now("term_to_binary(binary_to_term(Data))", etf)
    assert same(binary_to_term(back), term)
    again = term_to_binary(binary_to_term(back))
    assert beam.eval_now(_DIFFERING, term_to_binary(([etf], [again]))) == "[]"


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(term=terms)
def test_terms_made_here_survive_both_ways_of_encoding_and_decoding(term: Any) -> None:
    fast, careful = Codec().encode(term), careful_encode(term)
    assert fast == careful
    decoded, end = Codec().decode(fast)
    assert end == len(fast)
    assert same(decoded, term)
    assert same(Decoder(_UNDEFINED, Limits()).decode(fast)[0], term)
    deterministic = Codec(deterministic=True)
    assert deterministic.encode(decoded) == deterministic.encode(term)
    assert same(binary_to_term(term_to_binary(term, compressed=1)), term)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(term=terms)
def test_repr_evaluates_to_the_same_term(term: Any) -> None:
    import quicdist.term as namespace

    assert exactly_equal(eval(repr(term), vars(namespace).copy()), term)


@pytest.mark.beam
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(record=records())
def test_native_records_come_back_the_same(beam: Beam, record: Any) -> None:
    etf = term_to_binary(record)
    assert same(binary_to_term(etf), record)
    if erl_facts()[0] >= 29:
        back = beam.eval_bytes_now("term_to_binary(binary_to_term(Data))", etf)
        assert same(binary_to_term(back), record)
        assert (
            beam.eval_now(_DIFFERING, term_to_binary(([etf], [term_to_binary(binary_to_term(back))]))) == "[]"
        )
