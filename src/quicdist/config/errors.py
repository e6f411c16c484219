"""Errors of configuration files, and options that are not supported."""

from __future__ import annotations

from typing import Any, NamedTuple

from quicdist.errors import QuicDistError


class ConfigError(QuicDistError, ValueError):
    """A configuration file is invalid: ``source`` is the file (and line) or flag, ``reason`` the cause."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{source}: {reason}")
        self.source = source
        self.reason = reason


class Unsupported(NamedTuple):
    """An option in the configuration that has no effect here, and the reason.

    ``option`` is its name there: ``dist auth_callback``, ``kernel dist_auto_connect``, ``-configfd``.
    """

    option: str
    reason: str
    source: str

    def __str__(self) -> str:
        return f"{self.source}: {self.option} is not supported: {self.reason}"


def shown(value: Any) -> str:
    """A value for an error message, cut to 80 characters."""
    from quicdist.term import format_term

    text = repr(value) if isinstance(value, str) else format_term(value)
    return text if len(text) <= 80 else text[:79] + "…"
