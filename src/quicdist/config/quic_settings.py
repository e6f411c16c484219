"""The settings of a QUIC carrier: from a configuration, and from options of a program that override it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from quicdist.carrier import ExternalPsk, Pem, TlsConfig
from quicdist.config.config import Config
from quicdist.config.errors import ConfigError
from quicdist.config.precedence import first

if TYPE_CHECKING:
    from quicdist.carrier import QuicSettings

#: Fields of QuicSettings that are options of the node, not settings in ``quic``.
_NODE_OPTIONS = {"tls", "net_ticktime", "max_frame"}
#: Fields of TlsConfig that are settings of the QUIC carrier; the others are options of the node.
_TLS = ("client_certificate", "external_psk", "psks")


def quic_settings(
    config: Config,
    quic: Mapping[str, Any],
    *,
    cert: Pem | None,
    key: Pem | None,
    cacert: Pem | None,
    verify: bool,
    net_ticktime: float,
    max_frame: int,
) -> QuicSettings:
    """``quic`` holds settings by their names in :class:`~quicdist.carrier.QuicSettings`, which override those
    of ``config``. Raises :class:`ConfigError` for an unknown name."""
    # Imported here, because a node over TCP needs neither aioquic nor cryptography, which load slowly.
    from quicdist.carrier import QuicSettings

    known = {field.name for field in dataclasses.fields(QuicSettings)} - _NODE_OPTIONS | set(_TLS)
    unknown = sorted(set(quic) - known)
    if unknown:
        raise ConfigError(
            "unknown settings in quic", f"{', '.join(unknown)}; choose from {', '.join(sorted(known))}"
        )
    defaults = {field.name: field.default for field in dataclasses.fields(QuicSettings)}
    for name, value in quic.items():
        _check(name, value, defaults.get(name))
    tls = {name: first(quic.get(name), getattr(config, name)) for name in _TLS}
    return QuicSettings(
        tls=TlsConfig(cert, key, cacert, verify, **tls),
        net_ticktime=net_ticktime,
        max_frame=max_frame,
        **config.quic_settings() | {name: quic[name] for name in quic if name not in _TLS},
    )


def _check(name: str, value: Any, default: Any) -> None:
    """Raise :class:`ConfigError` for a value that is of another type than the default."""
    if isinstance(default, bool):
        expected, well = "True or False", isinstance(value, bool)
    elif isinstance(default, int | float):
        expected, well = "a number", isinstance(value, int | float) and not isinstance(value, bool)
    elif name == "external_psk":
        expected, well = "an ExternalPsk", value is None or isinstance(value, ExternalPsk)
    else:
        return
    if not well:
        raise ConfigError(f"{name} in quic", f"expected {expected}, not {type(value).__name__}")
