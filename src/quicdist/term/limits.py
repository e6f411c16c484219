"""Limits for decoding untrusted input, and for encoding."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on terms that are decoded and encoded; beyond one is a DecodeError or EncodeError.

    Counts and sizes inside a term need no limits of their own: each is compared with the bytes that are left
    before anything is built.
    """

    #: How deep lists, tuples, maps, records and funs may be nested. Whatever this is, at most 10,000 tuples
    #: directly in one another are decoded: hashing more would overflow C's stack.
    max_depth: int = 200_000
    #: Bytes that a compressed term may grow to.
    max_size: int = 128 * 1024 * 1024
    #: Atoms, and as many pids, in a codec's decode cache.
    cache_size: int = 4096
