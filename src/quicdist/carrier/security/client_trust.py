"""Which nodes that dial are believed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClientTrust:
    """Those with a certificate of ``ca`` (PEM), and if it is not ``required`` those with none."""

    ca: bytes
    required: bool
