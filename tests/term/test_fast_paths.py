"""The fast paths of the codec leave what is odd to the decoder and encoder proper, and hide no defect."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from quicdist.term import Codec, DecodeError, EncodeError, binary_to_term, term_to_binary
from quicdist.term.etf import fast_decoder, fast_encoder

DEFECTS = [NameError("nmae"), UnboundLocalError("n"), AttributeError("_eft"), AssertionError()]


def raising(error: Exception) -> Any:
    def fail(*_: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize("error", DEFECTS, ids=lambda error: type(error).__name__)
class TestADefectShows:
    def test_a_defect_in_the_fast_decoder_is_raised(
        self, error: Exception, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fast_decoder, "read_runs", raising(error))
        with pytest.raises(type(error)):
            Codec().decode(term_to_binary([1000, 2000, 3000, 4000]), 1)

    def test_a_defect_in_the_fast_encoder_is_raised(
        self, error: Exception, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fast_encoder, "integer_list", raising(error))
        parts = [b"before"]
        with pytest.raises(type(error)):
            Codec().encode_into((b"begun", [1, 2, 3, 4, 5]), parts)
        assert parts == [b"before"]


class TestWhatIsOdd:
    def test_bytes_that_end_too_soon_are_a_decode_error(self) -> None:
        with pytest.raises(DecodeError):
            Codec().decode(b"h\3a\1")

    @pytest.mark.parametrize("error", [ValueError, ZeroDivisionError, KeyError])
    def test_a_key_that_cannot_be_hashed_any_more_is_an_encode_error(self, error: type[Exception]) -> None:
        class Key:
            broken = False

            def __hash__(self) -> int:
                if self.broken:
                    raise error
                return 1

        key = Key()
        term = {key: 1}
        key.broken = True
        parts = [b"before"]
        with pytest.raises(EncodeError, match=r"cannot"):
            Codec().encode_into(term, parts)
        assert parts == [b"before"]


#: The four external forms of an atom, erl_ext_dist.
ATOM_FORMS = {
    "ATOM_EXT": lambda name: b"d" + struct.pack(">H", len(name)) + name,
    "SMALL_ATOM_EXT": lambda name: b"s" + bytes([len(name)]) + name,
    "ATOM_UTF8_EXT": lambda name: b"v" + struct.pack(">H", len(name)) + name,
    "SMALL_ATOM_UTF8_EXT": lambda name: b"w" + bytes([len(name)]) + name,
}
#: Terms with the name of a node or module in them, around that name.
WITH_A_NAME = {
    "atom": (b"", b""),
    "pid": (b"X", struct.pack(">III", 1, 2, 3)),
    "old-pid": (b"g", struct.pack(">IIB", 1, 2, 3)),
    "port": (b"x", struct.pack(">QI", 1, 2)),
    "new-port": (b"Y", struct.pack(">II", 1, 2)),
    "reference": (b"Z\0\3", struct.pack(">IIII", 9, 1, 2, 3)),
    "new-reference": (b"r\0\3", struct.pack(">BIII", 1, 1, 2, 3)),
    "export": (b"q", b"w\1fa\2"),
    "key": (b"t\0\0\0\1", b"a\1"),
}


@pytest.mark.parametrize("form", ATOM_FORMS)
@pytest.mark.parametrize("kind", WITH_A_NAME)
def test_a_name_in_any_form_gives_the_same_term_on_both_paths_and_from_the_cache(
    kind: str, form: str
) -> None:
    before, after = WITH_A_NAME[kind]
    etf = before + ATOM_FORMS[form](b"node@host") + after
    canonical = before + ATOM_FORMS["SMALL_ATOM_UTF8_EXT"](b"node@host") + after
    decode = Codec().binary_to_term
    for _ in range(2):  # what follows must not count among the bytes that are looked up
        assert decode(b"\x83h\3" + etf + etf + b"m\0\0\0\5after") == (
            *[decode(b"\x83" + canonical)] * 2,
            b"after",
        )
    deep = decode(b"\x83" + b"h\1" * 60 + etf)
    for _ in range(60):
        (deep,) = deep
    assert deep == decode(b"\x83" + etf)
    assert term_to_binary(deep) == term_to_binary(decode(b"\x83" + canonical))


def test_a_map_with_keys_that_cannot_be_hashed_is_the_same_on_both_paths() -> None:
    pairs = b"t\0\0\0\4a\1a\1F" + struct.pack(">d", 2.0) + b"a\2k\0\1xa\3w\1ya\4"
    deep = binary_to_term(b"\x83" + b"h\1" * 60 + pairs)
    for _ in range(60):
        (deep,) = deep
    assert binary_to_term(b"\x83" + pairs) == deep
    assert list(deep.items()) == [(1, 1), (2.0, 2), ([120], 3), (binary_to_term(b"\x83w\1y"), 4)]


@pytest.mark.parametrize("keys", [b"a\1", b"F" + struct.pack(">d", 1.0)], ids=["the-same", "equal-in-python"])
def test_a_key_twice_before_one_that_cannot_be_hashed_is_noticed(keys: bytes) -> None:
    etf = b"\x83t\0\0\0\3a\1a\1" + keys + b"a\2k\0\1xa\3"
    if keys == b"a\1":
        with pytest.raises(DecodeError, match="a key twice"):
            binary_to_term(etf)
    else:
        assert len(binary_to_term(etf)) == 3
