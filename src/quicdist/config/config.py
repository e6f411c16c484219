"""What a cluster's configuration says, in this library's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quicdist.carrier import Address
from quicdist.config.errors import Unsupported
from quicdist.discovery import Backend, Discovery

if TYPE_CHECKING:
    from quicdist.carrier.quic.authentication import AuthCallback
    from quicdist.carrier.security.credentials import Pem
    from quicdist.carrier.security.psk import ExternalPsk, Psks
    from quicdist.carrier.security.tls_config import ClientCertificate
    from quicdist.carrier.tls.settings import TlsSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A cluster's ``sys.config`` and ``vm.args`` as read by :func:`read_config`.

    None stands for what they do not say. Times are seconds, sizes bytes. ``unsupported`` lists, by
    name, each option that stands there and has no effect here, and why; each is also logged as a
    warning. ``unrelated`` names the flags and kernel parameters that are not about distribution.
    """

    name: str | None = None
    cookie: str | None = field(default=None, repr=False)
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: ``-proto_dist``: ``"quic"``, ``"tcp"``, ``"tls"``, in its order.
    carriers: tuple[str, ...] | None = None
    hidden: bool | None = None
    listen: bool | None = None

    # QUIC
    port: int | None = None
    dist_port: int | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    cacert_file: Path | None = None
    #: Given as terms: PEM.
    cert: bytes | None = None
    key: bytes | None = field(default=None, repr=False)
    cacert: bytes | None = None
    verify: bool | None = None
    idle_timeout: float | None = None
    keep_alive_interval: float | str | None = None
    max_data: int | None = None
    max_stream_data: int | None = None

    #: The functions that stand for the Erlang ones named.
    auth_callback: AuthCallback | None = None
    auth_handshake_timeout: float | None = None
    psks: Psks | None = field(default=None, repr=False)
    external_psk: ExternalPsk | None = None

    # where nodes are
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
    #: Back ends by the names of the Erlang modules that they stand for.
    modules: Mapping[str, Backend | Discovery] = field(default_factory=dict)
    #: All of ``dist``, as terms: the options that a back end's ``init`` is given.
    dist: Mapping[str, Any] = field(default_factory=dict, repr=False)

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

    unsupported: tuple[Unsupported, ...] = ()
    unrelated: tuple[str, ...] = ()

    @property
    def certificates(self) -> tuple[Pem | None, Pem | None, Pem | None]:
        """The certificate, its key, and the CAs: what is given as terms goes before files, a certificate
        and its key both or neither (``quic_dist:load_credentials/1``)."""
        own: tuple[Pem | None, Pem | None] = (self.cert, self.key)
        if None in own:
            own = (self.cert_file, self.key_file)
        return (*own, self.cacert_file if self.cacert is None else self.cacert)

    @property
    def client_certificate(self) -> ClientCertificate:
        """``verify_peer`` is for both sides: with a CA to check it against, a node that dials must show
        its certificate too. quic_dist never asks for one, but its nodes show theirs when asked."""
        return "require" if self.verify and self.certificates[2] is not None else "none"

    def quic_settings(self) -> dict[str, Any]:
        """The settings of a QUIC carrier that are given."""
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
