"""Which certificates of dialling nodes are accepted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClientTrust:
    """Certificates signed by ``ca`` (PEM) are accepted. ``required``: a node without one is refused."""

    ca: bytes
    required: bool
