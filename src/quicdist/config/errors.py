"""What can be wrong with a cluster's configuration."""

from __future__ import annotations

from typing import NamedTuple

from quicdist.errors import QuicDistError


class ConfigError(QuicDistError, ValueError):
    """A configuration cannot be read; ``source`` is the file (and line) or flag, ``reason`` why."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{source}: {reason}")
        self.source = source
        self.reason = reason


class Unsupported(NamedTuple):
    """An option that stands in the configuration and has no effect here, and why that is so.

    ``option`` is named as it stands there: ``dist auth_callback``, ``kernel dist_auto_connect``,
    ``-configfd``.
    """

    option: str
    reason: str
    source: str

    def __str__(self) -> str:
        return f"{self.source}: {self.option} is not supported: {self.reason}"
