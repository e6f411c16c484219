"""Elements of one kind are decoded many at a time, and whole messages directly: with the same results and
errors as in the complete decoder."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest

from quicdist.term import Atom, Codec, DecodeError, Limits, binary_to_term, term_to_binary
from quicdist.term.etf import codec
from quicdist.term.etf.decoder import Decoder
from quicdist.term.identity import exact_form
from tests.term.test_shapes import PARTS, integer, listed

VERSION = b"\x83"


def text(value: str) -> bytes:
    return b"c" + value.encode().ljust(31, b"\0")


def outcome(decode: Callable[[bytes], Any], data: bytes) -> tuple[Any, ...]:
    try:
        term = decode(data)
    except DecodeError as error:
        return str(error), error.offset, error.path
    return exact_form(term), repr(term)


def complete(data: bytes) -> Any:
    """What the complete decoder makes of a term with its version byte."""
    term, end = Decoder(Atom("undefined"), Limits()).decode(data, 1)
    if end != len(data):
        raise DecodeError(f"{len(data) - end} bytes after the term", offset=end)
    return term


def assert_same(codec: Codec, data: bytes) -> None:
    assert outcome(codec.binary_to_term, data) == outcome(complete, data)


def damaged(data: bytes, positions: range) -> list[bytes]:
    """The data cut off there, with a byte changed there, and with one more."""
    found = [data[:at] for at in positions]
    for at in positions:
        found += [data[:at] + bytes((byte,)) + data[at + 1 :] for byte in (0, data[at] ^ 1)]
    return [*found, data + b"j"]


ELEMENTS: dict[str, Callable[[int], bytes]] = {
    **{kind: PARTS[kind] for kind in PARTS if kind not in ("anything", "empty-terms")},
    "float-as-text": lambda n: text(f"{(n - 50) / 7:.20e}"),
    "mixed-integers": lambda n: integer((n * 7919) % 256 if n * n % 7 < 4 else -n - 1),
}


@pytest.mark.parametrize("kind", ELEMENTS)
def test_a_list_of_one_kind_damaged_anywhere_has_the_same_result_or_error(kind: str) -> None:
    codec = Codec()
    data = VERSION + listed(*map(ELEMENTS[kind], range(150)))
    for _ in range(3):
        assert_same(codec, data)
    # Two elements behind the first step of any reader, and the end.
    size = len(data) // 150
    for changed in damaged(data, range(140 * size, 141 * size + 1)) + damaged(
        data, range(len(data) - 2, len(data))
    ):
        assert_same(codec, changed)


@pytest.mark.parametrize("count", [1, 2, 4, 7])
@pytest.mark.parametrize("kind", ELEMENTS)
def test_a_tuple_of_one_kind_damaged_anywhere_has_the_same_result_or_error(kind: str, count: int) -> None:
    codec = Codec()
    data = b""
    for n in range(64):
        data = VERSION + b"h%c" % count + b"".join(ELEMENTS[kind](n * count + k) for k in range(count))
        assert_same(codec, data)
    for changed in damaged(data, range(2, min(len(data), 60))):
        assert_same(codec, changed)


@pytest.mark.parametrize(
    "value",
    [
        "1", "1e5", "1.", ".5", "1.e5", "+1.0", " 1.0", "1.0 ", "1_0.0", "inf", "nan", "1e999", "1.0e999",
        "-1.0e+400", "1.0E5", "1.0e5", "0x1.0", "01.0", "-0.0", "1.0\0002.0", "1.0\0\0 2.0", "\0001.0",
        "1.0,2.0", "1.0c", "[1.0", "", "1.00000000000000000000e+308", "9.99999999999999999999e+999",
        "1.00000000000000000000e-400",
    ],
)  # fmt: skip
@pytest.mark.parametrize("at", [0, 30, 39])
def test_a_float_as_text_in_any_form_has_the_same_result_or_error(value: str, at: int) -> None:
    codec = Codec()
    texts = [text(f"{n / 7:.20e}") for n in range(40)]
    for _ in range(20):
        assert_same(codec, VERSION + b"h\4" + b"".join(texts[:4]))
    texts[at] = text(value)
    assert_same(codec, VERSION + listed(*texts))
    texts[at % 4] = text(value)
    assert_same(codec, VERSION + b"h\4" + b"".join(texts[:4]))


def test_an_identifier_made_by_columns_is_the_one_that_its_arguments_make() -> None:
    codec = Codec()
    for kind in ("port", "new-port", "old-port", "reference", "new-reference", "old-reference", "old-pid"):
        for _ in range(3):
            found = codec.binary_to_term(VERSION + listed(*map(ELEMENTS[kind], range(150))))
        for identifier in found:
            same = eval(repr(identifier), {type(identifier).__name__: type(identifier)})
            assert (same, hash(same), same.node) == (identifier, hash(identifier), identifier.node)


@pytest.mark.parametrize("kind", ["pid", "old-pid", "port", "reference", "new-reference", "old-reference"])
def test_a_list_of_identifiers_of_the_node_itself_is_decoded_as_each_of_them(kind: str) -> None:
    node = Codec().for_node(Atom("inner@host"), Atom("a@host"), 9)
    elements = [ELEMENTS[kind](n) for n in range(150)]
    for _ in range(3):
        found, _ = node.decode(listed(*elements))
    fresh = Codec().for_node(Atom("inner@host"), Atom("a@host"), 9)
    assert found == [fresh.decode(element)[0] for element in elements]


@pytest.mark.parametrize("count", [50, 100, 128])
@pytest.mark.parametrize("either", [1, 6])
def test_a_long_tuple_of_integers_of_two_sizes_is_decoded_again_and_again(count: int, either: int) -> None:
    codec = Codec()
    for n in range(80):
        parts = [integer(k) for k in range(count - either)]
        parts += [integer(n % 2 * 300 + k) for k in range(either)]
        data = VERSION + b"h%c" % count + b"".join(parts)
        assert_same(codec, data)
        assert codec.decode(data, 1) == (complete(data), len(data))


def test_other_kinds_of_buffers_are_decoded_as_bytes_are() -> None:
    codec = Codec()
    for n in range(64):
        data = VERSION + b"h\3" + integer(n * 9) + b"m" + struct.pack(">I", n) + bytes(n) + integer(5)
        for buffer in (data, bytearray(data), memoryview(data)):
            term = codec.binary_to_term(buffer)
            assert term == (n * 9, bytes(n), 5)
            assert type(term[1]) is bytes


def test_a_term_with_other_options_than_the_defaults_does_not_make_a_codec_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []

    class Counted(Codec):
        def __init__(self, **options: Any) -> None:
            made.append(options)
            super().__init__(**options)

    monkeypatch.setattr(codec, "Codec", Counted)
    codec._kept.cache_clear()
    try:
        for _ in range(3):
            data = term_to_binary({2: None, 1: Atom("nil")}, none="nil", deterministic=True)
            assert binary_to_term(data, none="nil") == {1: None, 2: None}
        assert len(made) == 2
    finally:
        codec._kept.cache_clear()
