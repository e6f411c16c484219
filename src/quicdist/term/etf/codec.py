"""The codec: ``term_to_binary`` and ``binary_to_term``, and the parts of them that connections use."""

from __future__ import annotations

import sys
import zlib
from functools import lru_cache
from typing import Any

from quicdist.term.atom import Atom
from quicdist.term.errors import DecodeError
from quicdist.term.etf.decoder import Decoder
from quicdist.term.etf.encoder import Default, Encoder, OwnForm
from quicdist.term.etf.fast_decoder import fast_decoder
from quicdist.term.etf.fast_encoder import fast_encoder
from quicdist.term.etf.own_identifiers import OwnDecoder, OwnIdentifiers
from quicdist.term.etf.readers import NOT_READ
from quicdist.term.limits import Limits
from quicdist.term.tags import VERSION, Tag

_VERSION = bytes((VERSION,))


class Codec:
    """Encodes and decodes with one set of options; made once and used as long as a connection lives.

    none: the atom that ``None`` is sent as and that arrives as ``None``; with ``none=None`` that atom
        stays an Atom and ``None`` is refused.
    limits: terms beyond these are refused, even if well-formed.
    deterministic: write maps in the order of their keys, as ``term_to_binary(T, [deterministic])``:
        equal terms give equal bytes, the same as OTP 26 and later write.
    default: called with each value that Erlang lacks (``datetime``, ``Decimal``, ``UUID``, a class of
        the program), as in json: it returns a value that can be encoded in its place, or raises TypeError.
        Any exception it raises becomes an EncodeError with the path of the value.
    view_from: binaries of so many bytes or more, out of ``bytes``, are not copied but come as a
        memoryview, which keeps all of the data it was decoded from alive.
    """

    __slots__ = (
        "_decoder",
        "_encoder",
        "_for_older",
        "_own_form",
        "_read_whole",
        "_to_binary",
        "_wholes",
        "decoder",
        "default",
        "deterministic",
        "encoder",
        "limits",
        "none",
        "view_from",
    )

    def __init__(
        self,
        *,
        none: str | Atom | None = "undefined",
        limits: Limits = Limits(),  # noqa: B008 - frozen
        deterministic: bool = False,
        default: Default | None = None,
        view_from: int | None = None,
    ) -> None:
        self.none = None if none is None else Atom(none)
        self.limits = limits
        self.deterministic = deterministic
        self.default = default
        self.view_from = view_from
        least_view = sys.maxsize if view_from is None else view_from
        self._decoder = Decoder(self.none, limits, least_view)
        #: :meth:`decode` and :meth:`encode_into` as plain functions, which are faster to call.
        self.decoder, self._wholes, self._read_whole = fast_decoder(self._decoder, limits, least_view)
        self._for_older: Codec | None = None
        self._own_form: OwnForm | None = None
        self._encoder = Encoder(self.none, limits, deterministic, default=default)
        self.encoder, self._to_binary = fast_encoder(self._encoder, self.none, limits, deterministic)

    def without_records(self) -> Codec:
        """The same codec for peers without native records (before OTP 29): one is an EncodeError."""
        if self._for_older is None:
            older = self._copy()
            older._decoder, older.decoder = self._decoder, self.decoder
            older._wholes, older._read_whole = self._wholes, self._read_whole
            older._set_encoder(self._own_form, records=False)
            older._for_older = older
            self._for_older = older
        return self._for_older

    def for_node(self, internal: Atom, name: Atom, creation: int) -> Codec:
        """The same codec for the connections of a node whose own pids and references are of the node
        ``internal``, and for others of ``name`` with ``creation``."""
        own = OwnIdentifiers(internal, name, creation)
        codec = self._copy()
        least_view = sys.maxsize if self.view_from is None else self.view_from
        decoder = codec._decoder = OwnDecoder(own, self.none, self.limits, least_view)
        codec.decoder, codec._wholes, codec._read_whole = fast_decoder(decoder, self.limits, least_view)
        codec._set_encoder(own.form)
        return codec

    def _copy(self) -> Codec:
        return Codec(
            none=self.none,
            limits=self.limits,
            deterministic=self.deterministic,
            default=self.default,
            view_from=self.view_from,
        )

    def _set_encoder(self, own_form: OwnForm | None, *, records: bool = True) -> None:
        self._own_form = own_form
        self._encoder = Encoder(
            self.none,
            self.limits,
            self.deterministic,
            records=records,
            default=self.default,
            own_form=own_form,
        )
        self.encoder, self._to_binary = fast_encoder(
            self._encoder, self.none, self.limits, self.deterministic, own_form
        )

    def __repr__(self) -> str:
        none = None if self.none is None else self.none.name
        return f"Codec(none={none!r}, limits={self.limits!r}, deterministic={self.deterministic!r})"

    # -- to bytes ------------------------------------------------------------------------------

    def encode(self, term: Any) -> bytes:
        """The external form of a term, without the version byte. Raises EncodeError."""
        parts: list[bytes] = []
        self.encoder(term, parts)
        return b"".join(parts)

    def encode_into(self, term: Any, parts: list[bytes]) -> None:
        """Append the external form, without the version byte, as pieces of any size.

        Binaries are appended as they are, without a copy. Raises EncodeError, and then ``parts`` is
        as it was before.
        """
        self.encoder(term, parts)

    def term_to_binary(self, term: Any, *, compressed: int = 0) -> bytes:
        """As ``erlang:term_to_binary/2``: the version byte, 131, and the term.

        ``compressed`` is the zlib level, 0 to 9; as in OTP the term stays as it is where that would
        not make it shorter. Raises EncodeError.
        """
        plain = self._to_binary(term)
        if compressed:
            size = (len(plain) - 1).to_bytes(4, "big")
            packed = b"%b%c%b%b" % (_VERSION, Tag.COMPRESSED, size, zlib.compress(plain[1:], compressed))
            if len(packed) < len(plain):
                return packed
        return plain

    # -- from bytes ----------------------------------------------------------------------------

    def decode(self, data: bytes | bytearray | memoryview, offset: int = 0) -> tuple[Any, int]:
        """The term at ``offset``, without a version byte, and the offset after it.

        Only the parts of the term are copied. Raises DecodeError, whose ``offset`` counts
        from the start of ``data``.
        """
        return self.decoder(data, offset)

    def binary_to_term(self, data: bytes | bytearray | memoryview) -> Any:
        """As ``erlang:binary_to_term/1``: 131 and one term, compressed or not, which is all of ``data``.

        Raises DecodeError.
        """
        if type(data) is bytes:
            term = self._wholes.get(data[:4], self._read_whole)(data)
            if term is not NOT_READ:
                return term
        try:
            tag = data[1]
        except IndexError:
            raise DecodeError(f"no term in {len(data)} bytes", offset=0) from None
        if data[0] != 131:
            raise DecodeError(f"expected the version byte {VERSION}, got {data[0]}", offset=0)
        if tag != 80:
            term, end = self.decoder(data, 1)
        else:  # COMPRESSED
            data = self._inflate(data)
            term, end = self.decoder(data)
        if end != len(data):
            raise DecodeError(f"{len(data) - end} bytes after the term", offset=end)
        return term

    def _inflate(self, data: bytes | bytearray | memoryview) -> bytes:
        """The term after the tag COMPRESSED, whose size is checked against the limit, decompressed."""
        size = int.from_bytes(data[2:6], "big")
        if len(data) < 6:
            raise DecodeError("ends in the middle of a compressed term's size", offset=len(data))
        if size > self.limits.max_size:
            raise DecodeError(
                f"a compressed term of {size} bytes, the limit is {self.limits.max_size}", offset=2
            )
        inflater = zlib.decompressobj()
        try:
            inflated = inflater.decompress(data[6:], size + 1)
        except zlib.error as error:
            raise DecodeError(f"a compressed term that zlib cannot read: {error}", offset=6) from None
        if len(inflated) != size or not inflater.eof:
            what = "more" if len(inflated) > size else f"{len(inflated)}"
            raise DecodeError(f"a compressed term has {what} bytes, its header says {size}", offset=2)
        if inflater.unused_data:
            left = len(inflater.unused_data)
            raise DecodeError(f"{left} bytes after the compressed term", offset=len(data) - left)
        return inflated


#: With the defaults, for ``term_to_binary`` and ``binary_to_term``.
DEFAULT = Codec()
#: Every atom stays an Atom: for code that must not depend on the atom for ``None``.
EXACT = Codec(none=None)


@lru_cache(maxsize=8)
def _kept(none: str | Atom | None, deterministic: bool = False) -> Codec:
    """The codec with these options: to make one takes longer than to encode most terms."""
    return Codec(none=none, deterministic=deterministic)


def term_to_binary(
    term: Any,
    *,
    compressed: int = 0,
    deterministic: bool = False,
    none: str | Atom | None = "undefined",
    default: Default | None = None,
) -> bytes:
    """As ``erlang:term_to_binary/2``, version byte included. Raises EncodeError.

    For many terms, or other limits, make a ``Codec``, which says what the options mean.
    """
    codec = (
        DEFAULT
        if none == "undefined" and not deterministic and default is None
        else _kept(none, deterministic)
        if default is None
        else Codec(none=none, deterministic=deterministic, default=default)
    )
    return codec.term_to_binary(term, compressed=compressed)


def binary_to_term(data: bytes | bytearray | memoryview, *, none: str | Atom | None = "undefined") -> Any:
    """As ``erlang:binary_to_term/1``: one term with its version byte. Raises DecodeError."""
    codec = DEFAULT if none == "undefined" else _kept(none)
    return codec.binary_to_term(data)
