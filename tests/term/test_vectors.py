"""Every recorded term of OTP 25, 27 and 29: decoded, encoded, and compared by a BEAM."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from quicdist.term import (
    Atom,
    Codec,
    DecodeError,
    ImproperList,
    Reference,
    binary_to_term,
    exactly_equal,
    term_to_binary,
)
from quicdist.term.etf.decoder import Decoder
from quicdist.term.limits import Limits
from tests.support.beam import Beam, erl_facts


class Vector(NamedTuple):
    otp: int
    name: str
    options: str
    text: str
    etf: bytes


def _read() -> list[Vector]:
    lines = (Path(__file__).parent.parent / "vectors" / "etf.jsonl").read_text().splitlines()
    return [Vector(**{**json.loads(line), "etf": bytes.fromhex(json.loads(line)["etf"])}) for line in lines]


VECTORS = _read()
every_vector = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"otp{vector.otp}-{vector.name}")


@every_vector
def test_decoded_terms_are_encoded_as_by_current_otp(vector: Vector) -> None:
    term = binary_to_term(vector.etf)
    etf = term_to_binary(term)
    assert exactly_equal(binary_to_term(etf), term)
    if vector.otp >= 27 and "compressed" not in vector.options:
        assert etf == vector.etf


@every_vector
@pytest.mark.parametrize("buffer", [bytearray, lambda data: memoryview(bytearray(data)), memoryview])
def test_any_buffer_at_any_offset(vector: Vector, buffer: type[bytearray]) -> None:
    term = binary_to_term(vector.etf)
    assert exactly_equal(binary_to_term(buffer(vector.etf)), term)
    if vector.etf[1] == 80:
        return
    for padding in (b"\x83abc", bytes(5000)):  # a short one and one that is not copied first
        data = buffer(padding + vector.etf[1:] + padding)
        found, end = Codec().decode(data, len(padding))
        assert exactly_equal(found, term)
        assert end == len(padding) + len(vector.etf) - 1


@every_vector
def test_both_ways_of_decoding_agree(vector: Vector) -> None:
    if vector.etf[1] != 80:
        term, end = Decoder(Atom("undefined"), Limits()).decode(vector.etf, 1)
        assert end == len(vector.etf)
        assert exactly_equal(term, binary_to_term(vector.etf))


@every_vector
def test_ends_anywhere_but_at_its_end_are_refused(vector: Vector) -> None:
    step = max(1, len(vector.etf) // 50)
    for size in range(0, len(vector.etf), step):
        with pytest.raises(DecodeError):
            binary_to_term(vector.etf[:size])
    with pytest.raises(DecodeError):
        binary_to_term(vector.etf + b"\0")


@pytest.mark.beam
def test_a_beam_takes_every_vector_back(beam: Beam) -> None:
    otp, _ = erl_facts()
    same = "(fun(<<N:32, A:N/binary, B/binary>>) -> binary_to_term(A) =:= binary_to_term(B) end)(Data)"
    # A BEAM reads what older ones wrote, and of the youngest only what it knows itself.
    held = [vector for vector in VECTORS if vector.otp <= otp]
    assert held
    for vector in held:
        back = term_to_binary(binary_to_term(vector.etf))
        both = len(vector.etf).to_bytes(4, "big") + vector.etf + back
        assert beam.eval_now(same, both) == "true", vector.name


def test_some_vectors_decode_to_the_expected_terms() -> None:
    by_name = {(vector.otp, vector.name): binary_to_term(vector.etf) for vector in VECTORS}
    assert by_name[29, "improper_alias_tag"] == ImproperList(
        [Atom("alias")], Reference("nonode@nohost", (228561, 186908673, 3584935617), 0)
    )
    assert len(by_name[29, "alias"].ids) == 5
    assert by_name[25, "atom_true"] is True
    assert by_name[25, "atom_undefined"] is None
    assert by_name[25, "string_abc"] == [97, 98, 99]
    assert by_name[25, "bin_hello"] == b"hello"
    assert by_name[25, "map_mixed"][1] == 4
    assert by_name[25, "map_mixed"][1.0] == 5
    record = by_name[29, "native_record_exported"]
    assert (record.module, record.name, dict(record.fields)) == (
        Atom("geom"),
        Atom("vec"),
        {Atom("x"): 1.0, Atom("y"): 2.5},
    )
    assert record.exported
    assert not by_name[29, "native_record_private"].exported
    fun = by_name[29, "fun_local"]
    assert (fun.module, fun.arity, fun.old_index, fun.old_uniq) == (Atom("geom"), 1, 0, 99510305)
    assert fun.free_variables == []
