"""The fast paths of the codec leave what is odd to the decoder and encoder proper, and hide no defect."""

from __future__ import annotations

from typing import Any

import pytest

from quicdist.term import Codec, DecodeError, EncodeError

DEFECTS = [NameError("nmae"), UnboundLocalError("n"), AttributeError("_eft"), AssertionError()]


def raising(error: Exception) -> Any:
    def fail(*_: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize("error", DEFECTS, ids=lambda error: type(error).__name__)
class TestADefectShows:
    def test_in_the_fast_decoder(self, error: Exception) -> None:
        codec = Codec()
        codec._fast_decode = raising(error)
        with pytest.raises(type(error)):
            codec.decode(b"a\1")

    def test_in_the_fast_encoder(self, error: Exception) -> None:
        codec = Codec()
        parts = [b"before"]

        def fail(term: Any, parts: list[bytes]) -> None:
            parts.append(b"begun")
            raise error

        codec._fast_write = fail
        with pytest.raises(type(error)):
            codec.encode_into(1, parts)
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
