"""Limits for decoding untrusted input, and for encoding."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on terms that are decoded and encoded; beyond one is a DecodeError or EncodeError.

    Counts and sizes inside a term need none of their own: each is held against the bytes that are
    really there before anything is made of it.
    """

    #: How deep lists, tuples, maps, records and funs may stand in one another. Of tuples directly in one
    #: another a decoder takes 20,000 whatever this is: to hash more of them would overflow C's stack.
    max_depth: int = 200_000
    #: Bytes that a compressed term may grow to.
    max_size: int = 128 * 1024 * 1024
    #: How many atoms (and as many pids) a codec remembers the bytes of, so as not to decode them again.
    cache_size: int = 4096
