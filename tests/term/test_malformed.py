"""Bytes that are no term, and terms that are too much: each a DecodeError that says where."""

from __future__ import annotations

import contextlib
import gc
import statistics
import struct
import time
import tracemalloc
import zlib

import pytest

from quicdist.term import (
    Codec,
    DecodeError,
    Limits,
    binary_to_term,
    exactly_equal,
    term_to_binary,
)
from quicdist.term.atom import _interned


def u32(number: int) -> bytes:
    return struct.pack(">I", number)


NAN, INFINITY = struct.pack(">d", float("nan")), struct.pack(">d", float("inf"))
PID = b"Xw\x01a" + bytes(12)
FUN = bytes(17) + u32(0) + u32(0) + b"w\x01ma\0a\0" + PID
FUN_EXT = b"p" + u32(4 + len(FUN)) + FUN

MALFORMED = {
    "nothing": (b"", "no term in 0 bytes", 0),
    "only the version": (b"\x83", "no term in 1 bytes", 0),
    "another version": (b"\x82a\x01", "expected the version byte 131, got 130", 0),
    "unknown tag": (b"\x83\xff\0", "unknown tag 255", 1),
    "trailing": (b"\x83a\x01\0", "1 bytes after the term", 3),
    "cut integer": (b"\x83b\0\0", "ends in the middle", 1),
    "list of 4 G": (b"\x83l" + u32(0xFFFFFFFF) + bytes(10), "list of length 4294967296, but only 10", 6),
    "tuple of 4 G": (b"\x83i" + u32(0xFFFFFFFF) + bytes(10), "tuple of length 4294967295", 6),
    "map of 2 G": (b"\x83t" + u32(0x7FFFFFFF) + bytes(10), "map of length 4294967294", 6),
    "binary of 4 G": (b"\x83m" + u32(0xFFFFFFFF) + bytes(10), "binary of length 4294967295, but only 10", 1),
    "bitstring of 4 G": (b"\x83M" + u32(0xFFFFFFFF) + bytes(10), "bitstring of length", 1),
    "string": (b"\x83k\xff\xff" + bytes(10), "string of length 65535, but only 10", 1),
    "big": (b"\x83o" + u32(0xFFFFFFFF) + bytes(10), "integer of length 4294967295", 1),
    "small big": (b"\x83n\x09\0" + bytes(8), "integer of length 9, but only 8", 1),
    "atom": (b"\x83w\x05abc", "atom of length 5, but only 3", 1),
    "atom of 256 characters": (b"\x83v\x01\x00" + b"x" * 256, "at most 255 characters, not 256", 1),
    "atom of 256 in Latin-1": (b"\x83d\x01\x00" + b"x" * 256, "at most 255 characters", 1),
    "atom that is not UTF-8": (b"\x83w\x01\xff", "not UTF-8", 1),
    "atom with a surrogate": (b"\x83w\x03\xed\xa0\x80", "not UTF-8", 1),
    "nan": (b"\x83F" + NAN, "not finite", 1),
    "infinity": (b"\x83h\x01F" + INFINITY, "not finite", 3),
    "nan among floats": (b"\x83l" + u32(9) + (b"F" + bytes(8)) * 8 + b"F" + NAN + b"j", "not finite", 78),
    "float of text": (b"\x83c" + b"1_0.0".ljust(31, b"\0"), "not a float", 1),
    "nan of text": (b"\x83c" + b"nan".ljust(31, b"\0"), "not a float", 1),
    "infinity of text": (b"\x83c" + b"1.0e999".ljust(31, b"\0"), "not finite", 1),
    "reference without words": (b"\x83Z\0\0w\x01a" + u32(0), "a reference has 1 to 5 words, not 0", 1),
    "reference of six": (b"\x83Z\0\x06w\x01a" + bytes(28), "a reference has 1 to 5 words, not 6", 1),
    "pid of a number": (b"\x83Xa\x01" + bytes(12), "expected an atom, got SMALL_INTEGER_EXT", 1),
    "bits": (b"\x83M" + u32(1) + b"\x09\xff", "1 to 7 bits", 1),
    "no bits": (b"\x83M" + u32(1) + b"\0\xff", "1 to 7 bits", 1),
    "arity": (b"\x83qw\x01aw\x01bb" + u32(1), "expected the arity of an export, got INTEGER_EXT", 1),
    "key twice": (b"\x83t" + u32(2) + b"a\x01ja\x01j", "cannot have a key twice", 12),
    "key twice, other bytes": (b"\x83t" + u32(2) + b"a\x01jb" + u32(1) + b"j", "cannot have a key twice", 15),
    "list as key twice": (b"\x83t" + u32(2) + b"jjjj", "cannot have a key twice", 10),
    "record flags": (b"\x83C" + u32(0) + b"\x02w\x01mw\x01r", "flags 2", 1),
    "record without names": (b"\x83C" + u32(0) + b"\x01a\x01w\x01r", "a record, an atom, got int", 12),
    "record field twice": (b"\x83C" + u32(2) + b"\x01w\x01mw\x01rw\x01xw\x01xjj", "field twice", 21),
    "record of 4 G": (b"\x83C" + u32(0xFFFFFFFF) + b"\x01" + bytes(10), "record of length", 7),
    "fun": (b"\x83p" + u32(100) + FUN, "fun of length 100", 1),
    "fun with another size": (b"\x83p" + u32(3 + len(FUN)) + FUN, "a fun has ", 1 + len(FUN_EXT)),
    "large environment": (b"\x83p" + u32(4 + len(FUN)) + FUN[:21] + u32(99999) + FUN[25:], "environ", 1),
    "cache reference": (b"\x83R\0", "ATOM_CACHE_REF", 1),
    "old fun": (b"\x83u" + bytes(20), "FUN_EXT", 1),
    "local inside": (b"\x83h\x01y" + bytes(9), "LOCAL_EXT", 3),
    "compressed inside": (b"\x83h\x01P" + bytes(9), "compressed", 3),
    "cut compressed": (b"\x83P\0\0", "middle of a compressed", 4),
    "not zlib": (b"\x83P" + u32(2) + b"abcdef", "zlib", 6),
    "compressed and shorter": (b"\x83P" + u32(9) + zlib.compress(b"a\x01"), "2 bytes, its header says 9", 2),
    "compressed and longer": (b"\x83P" + u32(1) + zlib.compress(b"a\x01"), "more bytes, its header says", 2),
    "cut stream": (b"\x83P" + u32(2) + zlib.compress(b"a\x01")[:-1], "its header says 2", 2),
    "behind the stream": (b"\x83P" + u32(2) + zlib.compress(b"a\x01") + b"?", "1 bytes after", 16),
    "compressed twice": (b"\x83P" + u32(3) + zlib.compress(b"P\0\0"), "term that does not follow", 0),
}  # fmt: skip


@pytest.mark.parametrize(("data", "message", "offset"), MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_malformed_bytes_are_refused_with_reason_and_offset(
    kind: type[bytes], data: bytes, message: str, offset: int
) -> None:
    with pytest.raises(DecodeError) as caught:
        binary_to_term(kind(data))
    assert message in str(caught.value)
    if data[1:2] != b"P" and data[:1] == b"\x83":
        assert caught.value.offset == offset


@pytest.mark.parametrize(
    ("inner", "path"),
    [
        (b"h\x02a\x01%b", "term[1]"),
        (b"l\0\0\0\x02j%bj", "term[1]"),
        (b"l\0\0\0\x01j%b", "term.tail"),
        (b"t\0\0\0\x01w\x01a%b", "term[Atom('a')]"),
        (b"t\0\0\0\x02a\x01jm\0\0\0\x01k%b", "term[b'k']"),
        (b"t\0\0\0\x01%ba\x01", "term{key 0}"),
        (b"t\0\0\0\x01j%b", "term{value 0}"),
        (b"h\x03jjt\0\0\0\x01w\x04truel\0\0\0\x02a\x01%bj", "term[2][True][1]"),
    ],
)
def test_the_path_says_where(inner: bytes, path: str) -> None:
    with pytest.raises(DecodeError) as caught:
        binary_to_term(b"\x83" + inner % b"\xfe")
    assert caught.value.path == path
    assert path in str(caught.value)


LIST = b"l\0\0\0\x01"


def nested(opening: bytes, depth: int, closing: bytes = b"") -> bytes:
    return b"\x83" + opening * depth + b"j" + closing * depth


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        (b"h\x01", b""),
        (b"l\0\0\0\x01", b"j"),
        (b"l\0\0\0\x01a\x01h\x01", b""),
        (b"t\0\0\0\x01a\x01", b""),
        (b"t\0\0\0\x01", b"j"),
        (b"t\0\0\0\x02jjh\x02a\x01", b"j"),
        (b"C\0\0\0\x01\x01w\x01mw\x01rw\x01x", b""),
    ],
    ids=["tuple", "list", "tail", "map", "key", "keys", "record"],
)
def test_depth_up_to_the_limit_and_not_one_more(opening: bytes, closing: bytes) -> None:
    levels = 2 if b"h" in opening and opening[:1] != b"h" else 1
    limit = 10_000
    deep = Codec(limits=Limits(max_depth=limit))
    data = nested(opening, limit // levels, closing)
    term = deep.binary_to_term(data)
    assert exactly_equal(deep.binary_to_term(deep.term_to_binary(term)), term)
    assert deep.term_to_binary(term) == data
    for buffer in (bytes, bytearray):
        with pytest.raises(DecodeError, match="nested deeper than 10000"):
            deep.binary_to_term(buffer(nested(opening, limit // levels + 1, closing)))
    codec = Codec(limits=Limits(max_depth=4))
    assert codec.binary_to_term(nested(opening, 4 // levels, closing)) is not None
    with pytest.raises(DecodeError, match="nested deeper than 4 "):
        codec.binary_to_term(nested(opening, 4 // levels + 1, closing))


@pytest.mark.parametrize("depth", [20_000, 100_000])
def test_iodata_is_as_deep_as_a_program_that_appends_makes_it(depth: int) -> None:
    # Acc = [Acc, Line], a line at a time.
    data = b"\x83" + b"l\0\0\0\x02" * depth + b"j" + b"m\0\0\0\x01.j" * depth
    term = binary_to_term(data)
    assert term_to_binary(term) == data
    for _ in range(depth):
        term, dot = term
        assert dot == b"."
    assert term == []


def test_tuples_in_tuples_are_few_enough_to_be_hashed() -> None:
    # Python's hash of a tuple has no limit but the C stack's: a segmentation fault.
    term = binary_to_term(nested(b"h\x01", 9_999))
    with pytest.raises(TypeError, match="unhashable"):  # the innermost is a list
        hash(term)
    for depth in (10_100, 150_000):
        with pytest.raises(DecodeError, match="10000 tuples directly in one another"):
            binary_to_term(nested(b"h\x01", depth))
        with pytest.raises(DecodeError, match="tuples directly in one another"):
            binary_to_term(b"\x83" + LIST * 15_000 + b"h\x01" * depth + b"j" * 15_001)
    # With a list between them there is nothing to hash.
    assert binary_to_term(b"\x83" + (b"h\x01" + LIST) * 50_000 + b"j" * 50_001)


def test_refusing_deep_tuples_takes_at_most_four_times_as_long_as_decoding_the_deepest_allowed() -> None:
    def seconds(term: bytes) -> float:
        taken = []
        for _ in range(9):
            start = time.thread_time()
            with contextlib.suppress(DecodeError):
                binary_to_term(term)
            taken.append(time.thread_time() - start)
        return statistics.median(taken)

    assert seconds(nested(b"h\x01", 1_000_000)) < 4 * seconds(nested(b"h\x01", 9_900))


def test_a_long_chain_of_tails_is_one_list() -> None:
    # [0|[0|[0|...]]], each in a LIST_EXT of its own: no depth, as it is none to a BEAM.
    assert binary_to_term(b"\x83" + b"l\0\0\0\x01a\0" * 50_000 + b"j") == [0] * 50_000
    assert binary_to_term(b"\x83l\0\0\0\x01a\0k\0\x02ab") == [0, 97, 98]


def test_compressed_terms_grow_to_the_limit_only() -> None:
    bomb = term_to_binary(bytes(1 << 20), compressed=9)
    assert len(bomb) < 2000
    assert binary_to_term(bomb) == bytes(1 << 20)
    codec = Codec(limits=Limits(max_size=1 << 16))
    with pytest.raises(DecodeError, match="limit is 65536"):
        codec.binary_to_term(bomb)
    lying = bomb[:2] + u32(100) + bomb[6:]
    with pytest.raises(DecodeError, match="has more bytes, its header says 100"):
        codec.binary_to_term(lying)


def test_caches_are_bounded_for_any_input() -> None:
    codec = Codec(limits=Limits(cache_size=100))
    for number in range(5000):
        name = b"%d" % number
        codec.decode(b"h\x02w%c%bXw%c%b" % (len(name), name, len(name), name) + bytes(12))
    decoder = codec._decoder
    assert max(len(decoder.atoms), len(decoder.nodes), len(decoder.pids)) <= 100


def test_what_is_remembered_of_maps_that_were_sent_is_bounded() -> None:
    codec = Codec()

    def send(numbers: range) -> int:
        for number in numbers:
            codec.encode({f"key {number}": 1})
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = send(range(1000))
        assert send(range(1000, 6000)) - before < 512 * 1024
    finally:
        tracemalloc.stop()


def test_unused_atoms_are_freed() -> None:
    codec = Codec(limits=Limits(cache_size=10))
    before = len(_interned)
    for number in range(5000):
        name = b"forgotten %d" % number
        codec.decode(b"w%c%b" % (len(name), name))
    gc.collect()
    assert len(_interned) < before + 100


@pytest.mark.parametrize("offset", [-1, 4, 1 << 70])
def test_offsets_outside_the_data(offset: int) -> None:
    with pytest.raises(DecodeError):
        Codec().decode(b"a\x01a", offset)
