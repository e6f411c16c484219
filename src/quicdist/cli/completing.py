"""What a shell completes beyond commands and options: names of nodes."""

from __future__ import annotations

import asyncio
import socket

from click.shell_completion import CompletionItem

#: Seconds for epmd's answer: the shell waits.
_PATIENCE = 1.0


def node_names(incomplete: str) -> list[CompletionItem]:
    """The names that begin with ``incomplete``; none if no epmd answers."""
    from quicdist.discovery import DiscoveryError, EpmdDiscovery

    carrier, scheme, rest = incomplete.rpartition("://")
    alive, at, host = rest.partition("@")
    own = socket.gethostname()
    hosts = [each for each in ("127.0.0.1", "localhost", own, own.partition(".")[0]) if each.startswith(host)]
    if at and host and not hosts:
        hosts = [host]
    asked = hosts[0] if at and hosts else "127.0.0.1"
    try:
        found = asyncio.run(EpmdDiscovery(timeout=_PATIENCE).names(asked))
    except (DiscoveryError, OSError):
        return []
    return [
        CompletionItem(f"{carrier}{scheme}{name}@{each}")
        for name, _ in found
        if name.startswith(alive)
        for each in dict.fromkeys(hosts if at else hosts[:1])
    ]
