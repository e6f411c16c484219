"""The settings that a cluster's configuration holds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quicdist.carrier import Address
from quicdist.config.errors import Unsupported
from quicdist.discovery import Backend, Discovery

if TYPE_CHECKING:
    from quicdist.carrier.quic.authentication import AuthCallback
    from quicdist.carrier.security.pem import Pem
    from quicdist.carrier.security.psk import ExternalPsk, Psks
    from quicdist.carrier.security.tls_config import ClientCertificate
    from quicdist.carrier.tls.settings import TlsSettings
    from quicdist.cluster import Strategy

#: The path of a configuration file.
Source = str | os.PathLike[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings in a cluster's ``sys.config`` and ``vm.args``, as :func:`read_config` returns them.

    None means that the files do not set it. Times are in seconds, sizes in bytes. ``unsupported`` lists
    the options that have no effect here, each with the reason; each is logged as a warning too.
    ``unrelated`` names the flags and kernel parameters that do not concern distribution.
    """

    name: str | None = None
    cookie: str | None = field(default=None, repr=False)
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: ``"quic"``, ``"tcp"``, ``"tls"``, in the order of ``-proto_dist``.
    carriers: tuple[str, ...] | None = None
    hidden: bool | None = None
    connect_all: bool | None = None
    prevent_overlapping_partitions: bool | None = None
    listen: bool | None = None

    # QUIC
    port: int | None = None
    dist_port: int | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    cacert_file: Path | None = None
    #: Certificates and keys that the configuration holds as terms, converted to PEM.
    cert: bytes | None = None
    key: bytes | None = field(default=None, repr=False)
    cacert: bytes | None = None
    verify: bool | None = None
    idle_timeout: float | None = None
    keep_alive_interval: float | str | None = None
    max_data: int | None = None
    max_stream_data: int | None = None

    #: The Python functions in place of the Erlang ones.
    auth_callback: AuthCallback | None = None
    auth_handshake_timeout: float | None = None
    psks: Psks | None = field(default=None, repr=False)
    external_psk: ExternalPsk | None = None

    # discovery
    discovery_module: str | None = None
    nodes: Mapping[str, Address] = field(default_factory=dict)
    dns_domain: str | None = None
    dns_ttl: int | None = None
    register_with_epmd: bool = False
    epmd: bool | None = None
    epmd_module: str | None = None
    epmd_port: int | None = None
    start_epmd: bool | None = None
    erl_epmd_port: int | None = None
    #: Discovery back ends by the Erlang module that each one replaces.
    modules: Mapping[str, Backend | Discovery] = field(default_factory=dict)
    #: All options of ``dist``, as terms: the argument of a back end's ``init``.
    dist: Mapping[str, Any] = field(default_factory=dict, repr=False)

    #: The strategies of libcluster's ``topologies``.
    cluster: tuple[Strategy, ...] = ()

    # TCP
    tcp_family: str | None = None
    tcp_host: str | None = None
    tcp_port_min: int | None = None
    tcp_port_max: int | None = None

    #: ``-ssl_dist_optfile`` and ``-ssl_dist_opt``.
    tls: TlsSettings | None = None

    # net_kernel
    net_ticktime: float | None = None
    setup_time: float | None = None

    # the emulator
    busy_wait: bool | None = None

    unsupported: tuple[Unsupported, ...] = ()
    unrelated: tuple[str, ...] = ()

    @property
    def certificates(self) -> tuple[Pem | None, Pem | None, Pem | None]:
        """The certificate, its key, and the CAs. Terms take precedence over files; a certificate and its
        key come from the same place (``quic_dist:load_credentials/1``)."""
        own: tuple[Pem | None, Pem | None] = (self.cert, self.key)
        if None in own:
            own = (self.cert_file, self.key_file)
        return (*own, self.cacert_file if self.cacert is None else self.cacert)

    @property
    def client_certificate(self) -> ClientCertificate:
        """Whether a node that dials must send a certificate: with ``verify_peer`` and a CA. quic_dist
        never requests one, but its nodes send theirs when asked."""
        return "require" if self.verify and self.certificates[2] is not None else "none"

    def quic_settings(self) -> dict[str, Any]:
        """The settings of the QUIC carrier that the files set."""
        settings = {
            "idle_timeout": self.idle_timeout,
            "max_data": self.max_data,
            "max_stream_data": self.max_stream_data,
            "keep_alive_interval": self.keep_alive_interval,
            "auth_callback": self.auth_callback,
            "auth_handshake_timeout": self.auth_handshake_timeout,
        }
        if self.keep_alive_interval == "auto":  # half the idle timeout, as the documentation has it
            settings["keep_alive_interval"] = None if self.idle_timeout is None else self.idle_timeout / 2
        return {name: value for name, value in settings.items() if value is not None}
