"""The options of quic_dist, and those of OTP that concern distribution, each with its reader.

The names are those of the documentation, the headers and the sources of erlang_quic 0.11.0, 1.3.1
and 1.8.1 (``docs/reference/configuration.md`` lists them with what quic_dist does), and of OTP's *kernel* and
*erl* reference pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from quicdist.config import certificates, values
from quicdist.config.values import Reader, never, only


class Option(NamedTuple):
    """How an option is read: ``read`` returns the value of ``field`` of :class:`Config` (None: the value
    is only checked). Errors do not show the value of a ``secret`` one."""

    read: Reader
    field: str | None = None
    secret: bool = False


_LOAD_BALANCER = "connection ids for load balancers are not implemented, in quic_dist neither"
_SEND_QUEUE = "it tunes quic_dist's send queue; here a sender awaits `process.send_wait`"

#: ``{quic, [{dist, [...]}]}``
DIST: Mapping[str, Option] = {
    "cert_file": Option(values.path, "cert_file"),
    "key_file": Option(values.path, "key_file"),
    "cacert_file": Option(values.path, "cacert_file"),
    "cert": Option(certificates.certificates, "cert"),
    "key": Option(certificates.private_key, "key", secret=True),
    "cacert": Option(certificates.certificates, "cacert"),
    "verify": Option(values.one_of(verify_peer=True, verify_none=False), "verify"),
    "discovery_module": Option(values.atom, "discovery_module"),
    "nodes": Option(values.nodes, "nodes"),
    "dns_domain": Option(values.text, "dns_domain"),
    "dns_ttl": Option(values.integer(0, 1 << 31), "dns_ttl"),
    "keep_alive_interval": Option(values.keep_alive, "keep_alive_interval"),
    "idle_timeout": Option(values.seconds_of, "idle_timeout"),
    "max_data": Option(values.integer(1, 1 << 62), "max_data"),
    "max_stream_data": Option(values.integer(1, 1 << 62), "max_stream_data"),
    "register_with_epmd": Option(values.boolean, "register_with_epmd"),
    "auth_callback": Option(values.function(3), "auth_callback"),
    "auth_handshake_timeout": Option(values.auth_timeout, "auth_handshake_timeout"),
    "psks": Option(values.psks, "psks", secret=True),
    "psk_callback": Option(values.function(1), "psk_callback"),
    "external_psk": Option(values.external_psk, "external_psk", secret=True),
    "pacing_enabled": Option(only(True, "packets are always paced")),
    "congestion_threshold": Option(never(_SEND_QUEUE)),
    "max_pull_per_notification": Option(never(_SEND_QUEUE)),
    "backpressure_retry_ms": Option(never(_SEND_QUEUE)),
    "lb_enabled": Option(only(False, _LOAD_BALANCER)),
    "lb_server_id": Option(never(_LOAD_BALANCER)),
    "lb_key": Option(never(_LOAD_BALANCER)),
    "nat_enabled": Option(only(False, "no port mapping is requested; put a mapped port into `nodes`")),
}

#: ``{quic, [...]}``, beside ``dist``.
QUIC: Mapping[str, Option] = {
    "dist_port": Option(values.port, "dist_port"),
    "qlog": Option(never("no qlog files are written")),
}

#: ``-quic_dist_NAME VALUE`` and ``-quic_dist NAME VALUE``: the option of ``dist`` that each one overrides
#: (``quic_dist:load_config/0``).
DIST_FLAGS: Mapping[str, str] = {
    "cert": "cert_file",
    "key": "key_file",
    "cacert": "cacert_file",
    "auth_callback": "auth_callback",
    "auth_handshake_timeout": "auth_handshake_timeout",
    "register_with_epmd": "register_with_epmd",
    "psk_callback": "psk_callback",
}

#: ``-quic_dist nodes [...]`` is used only where ``dist`` has no ``nodes``
#: (``quic_discovery_static:get_app_env_nodes/0``).
NODES_FLAG = "nodes"

_TCP_OPTIONS = "the options of sockets cannot be set"

#: ``{kernel, [...]}`` and ``-kernel NAME VALUE``.
KERNEL: Mapping[str, Option] = {
    "net_ticktime": Option(values.ticktime, "net_ticktime"),
    "net_setuptime": Option(values.setup_time, "setup_time"),
    "net_tickintensity": Option(only(4, "liveness is always checked four times per net_ticktime")),
    "inet_dist_listen_min": Option(values.port, "tcp_port_min"),
    "inet_dist_listen_max": Option(values.port, "tcp_port_max"),
    "inet_dist_use_interface": Option(values.host, "tcp_host"),
    "inet_dist_listen_options": Option(never(_TCP_OPTIONS)),
    "inet_dist_connect_options": Option(never(_TCP_OPTIONS)),
    "erl_epmd_node_listen_port": Option(values.integer(1, 65535), "erl_epmd_port"),
    "dist_auto_connect": Option(never("a send to a node always connects to it")),
    "connect_all": Option(values.boolean, "connect_all"),
    "prevent_overlapping_partitions": Option(values.boolean, "prevent_overlapping_partitions"),
    "global_groups": Option(never("global groups are not implemented: this node belongs to none")),
}
