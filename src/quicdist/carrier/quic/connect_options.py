"""Settings for dialling one node: quic_dist's ``set_connect_options/2``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.security.pem import Pem
from quicdist.carrier.security.psk import ExternalPsk

#: The options that are those of :class:`TlsConfig`.
_TLS = ("cert", "key", "cacert", "verify", "server_name", "external_psk")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectOptions:
    """How to dial one node; None stands for the carrier's setting. Times are in seconds, sizes in bytes.

    ``cert``, ``key`` and ``cacert`` are PEM files, or their content as bytes: the certificate that is shown
    to that node, and the CA by which its certificate is verified. ``server_name`` is the host that its
    certificate must name, instead of the host of its node name. ``external_psk`` is shown instead of a
    certificate. The others are as in :class:`~quicdist.carrier.QuicSettings`."""

    cert: Pem | None = None
    key: Pem | None = field(default=None, repr=False)
    cacert: Pem | None = None
    verify: bool | None = None
    server_name: str | None = None
    external_psk: ExternalPsk | None = None
    keep_alive_interval: float | None = None
    idle_timeout: float | None = None
    max_data: int | None = None
    max_stream_data: int | None = None
    max_datagram_size: int | None = None
    congestion_control: str | None = None
    initial_rtt: float | None = None

    def applied_to(self, settings: QuicSettings) -> QuicSettings:
        """``settings`` with these options applied."""
        given: dict[str, Any] = {
            field.name: value
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) is not None
        }
        tls = {name: given.pop(name) for name in _TLS if name in given}
        return dataclasses.replace(settings, tls=dataclasses.replace(settings.tls, **tls), **given)
