"""A fuzzer for the codec: ``python -m tests.term.fuzz --seconds 60 [--seed N]``.

It changes the recorded vectors, and what it made of them before, byte by byte and piece by piece. For
each result the two ways of decoding have to agree: on the term, or on refusing it with a DecodeError. A
term must encode to bytes that are the same term again, and of some inputs the memory is measured
against the stated multiple of their size. Exit status 1 if anything else happens, and the last line says
what; the input is kept in a file.
"""

from __future__ import annotations

import contextlib
import json
import random
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

from quicdist.term import Atom, Codec, DecodeError, Limits, Local
from quicdist.term.etf.decoder import Decoder
from quicdist.term.identity import exact_form
from tests.support.fuzzing import Finding, main

#: As docs/reference/terms.md states it: bytes for each byte of the (inflated) input, and some more.
MEMORY_MULTIPLE = 128
#: Of the stated 4 MiB most are for the codec's caches, which are full before, and for the depth allowed.
MEMORY_CONSTANT = 1 << 17

#: Small enough for the fuzzer to run into them.
LIMITS = Limits(max_depth=300, max_size=1 << 16)
_VECTORS = Path(__file__).parent.parent / "vectors" / "etf.jsonl"
_INTERESTING = (0, 1, 2, 4, 5, 0x7F, 0x80, 0xFF, *range(67, 122), 131)
_SIZES = (0, 1, 2, 9, 255, 65536, 0x7FFFFFFF, 0xFFFFFFFF)
_MAX_CORPUS = 4000
_MAX_SIZE = 1 << 15
#: Of the inputs that were refused so many are kept too, and changed now and then.
_MAX_REFUSED = 500
#: From this size of input on its memory is said.
_LARGE = 4096


def vectors() -> list[bytes]:
    return [bytes.fromhex(json.loads(line)["etf"]) for line in _VECTORS.read_text().splitlines()]


class Fuzzer:
    """Endless inputs from one seed, and the checks on each."""

    subject = "the term codec"

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.corpus = vectors()
        self.refused = [b"\x83"]
        self.seen: set[tuple[str, int]] = set()
        self.inputs = self.decoded = 0
        self.worst = 0.0  # memory used, in bytes for a byte of a large input
        self.codec = Codec(limits=LIMITS)
        self.careful = Decoder(Atom("undefined"), LIMITS)
        self._made = self.inputs_made()
        self._last = b""

    def step(self) -> None:
        self.check(next(self._made), memory=self.inputs % 20 == 0)

    def summary(self) -> str:
        return (
            f"{self.decoded} of them terms, corpus {len(self.corpus)}, most memory {self.worst:.0f} times "
            "the input"
        )

    def last_input(self) -> bytes:
        return self._last

    def inputs_made(self) -> Iterator[bytes]:
        while True:
            source = self.corpus if self.random.random() < 0.9 else self.refused
            yield self._mutated(bytearray(self.random.choice(source)))

    def _mutated(self, data: bytearray) -> bytes:
        rnd = self.random
        for _ in range(rnd.choice((1, 1, 1, 2, 3, 8))):
            at = rnd.randrange(1, len(data)) if len(data) > 1 else 0
            end = min(len(data), at + rnd.choice((1, 2, 4, 8, 64)))
            match rnd.randrange(9):
                case 0:
                    data[at : at + 1] = bytes((rnd.choice(_INTERESTING),))
                case 1:
                    data[at : at + 1] = bytes((rnd.randrange(256),))
                case 2:
                    del data[at:end]
                case 3:
                    data[at:at] = data[at:end] * rnd.choice((1, 1, 2, 100))
                case 4:
                    other = rnd.choice(self.corpus)[1:]
                    start = rnd.randrange(len(other))
                    data[at : rnd.choice((at, end))] = other[start : start + rnd.choice((1, 8, 64, 4096))]
                case 5:
                    data[at:at] = rnd.choice(_OPENINGS) * rnd.choice((1, 1, 1, 20, 400))
                case 6:
                    data[at:at] = bytes((rnd.choice(_INTERESTING),))
                case 7 if rnd.random() < 0.1:  # many of the whole term
                    count = max(1, rnd.choice((2000, _MAX_SIZE)) // len(data))
                    data[1:] = b"l%b%bj" % (count.to_bytes(4, "big"), bytes(data[1:]) * count)
                case _:
                    data[at : at + 4] = rnd.choice((0, 1, 255, 65536, 0x7FFFFFFF, 0xFFFFFFFF)).to_bytes(
                        4, "big"
                    )
            if not data:
                data += b"\x83"
        return bytes(data[:_MAX_SIZE])

    def check(self, data: bytes, *, memory: bool = False) -> None:
        """Put one input through the codec. Raises Finding."""
        self.inputs += 1
        self._last = data
        try:
            self._check(data, memory)
        except Finding:
            raise
        except Exception as error:
            raise Finding(f"{type(error).__name__}: {error}") from error

    def _check(self, data: bytes, memory: bool) -> None:
        term: object = None
        failed: DecodeError | None = None
        if memory:
            self._check_memory(data)
        try:
            term = self.codec.binary_to_term(data)
        except DecodeError as error:
            failed = error
        if len(data) > 1 and data[0] == 131 and data[1] != 80:
            self._compare(data, term, failed)
        if failed is None:
            self.decoded += 1
            self._check_term(term)
            self._keep(self.corpus, _MAX_CORPUS, ("term", hash(tuple(sorted(set(data))))), data)
        else:
            self._keep(self.refused, _MAX_REFUSED, (str(failed)[:24], len(failed.path) // 8), data)

    def _check_memory(self, data: bytes) -> None:
        size = max(1, len(data))
        if data[1:2] == b"P":
            size += min(int.from_bytes(data[2:6], "big"), LIMITS.max_size)
        most = MEMORY_MULTIPLE * size + MEMORY_CONSTANT
        peak = self._memory(data)
        for _ in range(2):
            # The table of all atoms, or a cache, may have grown with this input for those before it: a dict
            # of 2731 entries is made anew with 147 KB. That comes once in thousands of atoms.
            if peak > most:
                peak = min(peak, self._memory(data))
        self.worst = max(self.worst, (peak - MEMORY_CONSTANT) / size)
        if peak > most:
            raise Finding(f"{peak} bytes of memory for {size} bytes of input")

    def _memory(self, data: bytes) -> int:
        """The most memory that decoding took at once, in bytes."""
        tracemalloc.start()
        try:
            with contextlib.suppress(DecodeError):
                self.codec.binary_to_term(data)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    def _keep(self, kept: list[bytes], most: int, shape: tuple[str, int], data: bytes) -> None:
        """Keep an input that is not like the others; in the place of another once there are too many."""
        if shape not in self.seen and len(data) > 1:
            if len(self.seen) < 100 * _MAX_CORPUS:
                self.seen.add(shape)
            if len(kept) < most:
                kept.append(data)
            else:
                kept[self.random.randrange(most)] = data

    def _compare(self, data: bytes, term: object, failed: DecodeError | None) -> None:
        """The other ways of decoding: in place out of a view, and without the short way."""
        for buffer in (data, memoryview(bytearray(data))):
            try:
                other, end = self.careful.decode(buffer, 1)
            except DecodeError as error:
                if failed is None or str(failed) != str(error):
                    raise Finding(
                        f"the short way: {failed or repr(term)[:200]}; the long way: {error}"
                    ) from error
                continue
            if failed is not None:
                if end == len(data):
                    raise Finding(f"the short way: {failed}; the long way: {other!r:.200}")
            elif exact_form(other) != exact_form(term):
                raise Finding(f"the short way: {term!r:.200}; the long way: {other!r:.200}")

    def _check_term(self, term: object) -> None:
        etf = self.codec.term_to_binary(term)
        if exact_form(self.codec.binary_to_term(etf)) != exact_form(term):
            raise Finding(f"not the same when it comes back: {term!r:.200}")
        if type(term) is not Local and exact_form(Codec(limits=LIMITS, deterministic=True).decode(
            Codec(limits=LIMITS, deterministic=True).encode(term))[0]) != exact_form(term):  # fmt: skip
            raise Finding(f"not the same when it is encoded in order: {term!r:.200}")


#: Beginnings of terms that hold others, for depth.
_OPENINGS = (
    b"h\x01", b"l\0\0\0\x01", b"t\0\0\0\x01", b"t\0\0\0\x01a\0", b"h\x02a\x01", b"l\0\0\0\x02j",
    b"t\0\0\0\x02jj", b"C\0\0\0\x01\x01w\x01aw\x01bw\x01c",
)  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(Fuzzer, "Fuzz quicdist.term."))
