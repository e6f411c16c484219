"""The fast paths of the codec leave what is odd to the decoder and encoder proper, and hide no defect."""

from __future__ import annotations

from typing import Any

import pytest

from quicdist.term import Codec, DecodeError, EncodeError, term_to_binary
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
