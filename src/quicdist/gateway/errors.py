"""The error of a gateway that cannot do its work."""

from __future__ import annotations

from quicdist.errors import QuicDistError


class GatewayError(QuicDistError):
    """A gateway cannot start, or cannot carry a connection: options that do not fit together, a remote host
    that resolves to the gateway itself, a local node that is not running."""
