"""The root of every error this package raises on purpose."""

from __future__ import annotations


class QuicDistError(Exception):
    """Something this package expected did not hold; the message says what, where and with whom."""
