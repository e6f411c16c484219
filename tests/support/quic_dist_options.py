"""The documented options of ``{quic, [{dist, [...]}]}``, with the first version that documents each.

From ``docs/QUIC_DIST.md`` (*Configuration Reference*, *PSK-only authentication*), ``docs/PSK.md``, the
record ``quic_dist_config`` in ``include/quic_dist.hrl``, and the environment in ``src/quic.app.src``,
of erlang_quic 0.11.0, 1.3.1 and 1.8.1; versions by its ``CHANGELOG.md``.
"""

from __future__ import annotations

DOCUMENTED: dict[str, str] = {
    "cert_file": "0.11.0",
    "key_file": "0.11.0",
    "cacert_file": "0.11.0",
    "cert": "0.11.0",
    "key": "0.11.0",
    "cacert": "0.11.0",
    "verify": "0.11.0",
    "discovery_module": "0.11.0",
    "nodes": "0.11.0",
    "dns_domain": "0.11.0",
    "dns_ttl": "0.11.0",
    "keep_alive_interval": "0.11.0",
    "idle_timeout": "0.11.0",
    "max_data": "0.11.0",
    "max_stream_data": "0.11.0",
    "lb_enabled": "0.11.0",
    "lb_server_id": "0.11.0",
    "lb_key": "0.11.0",
    "congestion_threshold": "0.11.0",
    "max_pull_per_notification": "0.11.0",
    "backpressure_retry_ms": "0.11.0",
    "pacing_enabled": "0.11.0",
    "nat_enabled": "0.11.0",
    "auth_callback": "1.3.3",
    "auth_handshake_timeout": "1.3.3",
    "register_with_epmd": "1.3.3",
    "psks": "1.4.0",
    "psk_callback": "1.4.0",
    "external_psk": "1.4.0",
}

#: Documented, but read by no version.
DOCUMENTED_ONLY = frozenset(
    {"keep_alive_interval", "idle_timeout", "max_data", "max_stream_data", "nat_enabled"}
)
