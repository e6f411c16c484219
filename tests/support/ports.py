"""Ports for peers that cannot listen on port 0."""

from __future__ import annotations

import contextlib
import socket


def any_port() -> int:
    """A port of 127.0.0.1 that is free in TCP and in UDP."""
    while True:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ):
            tcp.bind(("127.0.0.1", 0))
            port: int = tcp.getsockname()[1]
            with contextlib.suppress(OSError):
                udp.bind(("127.0.0.1", port))
                return port
