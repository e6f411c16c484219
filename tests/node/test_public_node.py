"""``Node`` as a program sees it: its public names, its options and their types, its settings for QUIC."""

from __future__ import annotations

import inspect
import typing

import pytest

from quicdist import Node
from quicdist.carrier import Pem
from quicdist.node import NodeError
from quicdist.node.endpoints import EndpointSettings, quic_settings
from quicdist.node.interface import NodeInterface

#: All of them. To add one is a decision about the API.
PUBLIC = {
    "accept_streams",
    "addresses",
    "call",
    "call_soon_threadsafe",
    "cast",
    "cluster",
    "connect",
    "disconnect",
    "drain",
    "endpoints",
    "erpc",
    "export",
    "exports",
    "gen_event",
    "gen_server",
    "gen_server_call",
    "gen_server_cast",
    "gen_statem",
    "global_names",
    "io",
    "is_auth",
    "list_streams",
    "metrics",
    "name",
    "net_kernel",
    "net_ticktime",
    "nodes",
    "open_stream",
    "pg",
    "ping",
    "process",
    "quic_dist",
    "rebind",
    "rpc",
    "run_forever",
    "send",
    "serve",
    "set_cookie",
    "spawn",
    "start",
    "stop",
    "subscribe",
    "sys",
    "task_supervisor",
    "whereis",
}

OPTIONS = [
    *("name", "cookie", "carrier", "config", "nodes"),  # those of the first page
    *("vm_args", "host", "port", "listen", "epmd", "discovery", "endpoints"),
    *("cluster", "cluster_backoff"),
    *("cert", "key", "cacert", "verify", "quic", "tls"),
    *("hidden", "connect_all", "prevent_overlapping_partitions", "none", "limits", "default"),
    *("net_ticktime", "setup_time", "max_frame", "max_dials", "busy_wait"),
    "tracer",
]


def test_the_public_names_of_a_node_are_those_listed() -> None:
    node = Node("names@127.0.0.1", cookie="secret")
    assert {name for name in dir(node) if not name.startswith("_")} == PUBLIC


def test_what_a_process_may_ask_of_its_node_are_public_names() -> None:
    asked = {name for name in NodeInterface.__dict__ if not name.startswith("_")}
    assert asked <= PUBLIC


def test_the_options_are_those_listed_and_the_first_page_comes_first() -> None:
    assert list(inspect.signature(Node).parameters) == OPTIONS


def test_the_docstring_names_every_option() -> None:
    doc = (Node.__doc__ or "").replace("=False", "")
    assert [option for option in OPTIONS if f"``{option}``" not in doc] == []


def test_the_types_of_the_options_can_be_asked_for() -> None:
    hints = typing.get_type_hints(Node.__init__)
    assert set(hints) == {*OPTIONS, "return"}
    assert hints["cert"] == Pem | None


def test_an_unknown_quic_setting_is_refused_and_the_known_ones_are_listed() -> None:
    with pytest.raises(NodeError) as caught:
        Node("quic@127.0.0.1", cookie="secret", quic={"idle_timout": 5, "tls": None})
    text = str(caught.value)
    assert "unknown settings in quic: idle_timout, tls" in text
    assert all(name in text for name in ("idle_timeout", "auth_callback", "client_certificate", "psks"))


def test_quic_settings_go_to_the_carrier_and_to_its_tls() -> None:
    psks = {b"one": bytes(32)}
    made = quic_settings(
        EndpointSettings(
            quic={"psks": psks, "client_certificate": "require", "auth_handshake_timeout": 3.0},
            cacert="ca.pem",
        )
    )
    assert (made.tls.psks, made.tls.client_certificate, made.tls.cacert) == (psks, "require", "ca.pem")
    assert made.auth_handshake_timeout == 3.0
