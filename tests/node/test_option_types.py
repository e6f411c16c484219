"""Options of a node of a wrong type, refused in words before anything is done."""

from __future__ import annotations

from typing import Any

import pytest

from quicdist import Node, NodeError
from quicdist.node.option_types import check_option_types


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("nodes", {"a": 1}, "the address of 'a' in nodes is a host and a port, .*, not int 1"),
        ("nodes", {"a@h": "h:1"}, "the address of 'a@h' in nodes is a host and a port, .*, not str 'h:1'"),
        ("nodes", {"a@h": ("h", "1")}, "the address of 'a@h' in nodes is a host and a port"),
        ("nodes", {"a@h": (1, 1)}, "the address of 'a@h' in nodes is a host and a port"),
        ("nodes", {1: ("h", 1)}, "a node name is a str or an Atom, not int 1"),
        ("nodes", ["a@h"], "nodes is a dict of node names and addresses"),
        ("carrier", 1, "carrier is the name of a carrier, or a list of names, not int 1"),
        ("carrier", [1], "carrier is the name of a carrier, or a list of names"),
        ("host", 1, "host is a host name or an IP address, not int 1"),
        ("port", "1", "port is a port number, not str '1'"),
        ("port", True, "port is a port number, not bool True"),
        ("listen", "no", "listen is True or False, not str 'no'"),
        ("verify", 0, "verify is True or False, not int 0"),
        ("discovery", 1, "discovery is a discovery, not int 1"),
        ("endpoints", 1, "endpoints is a list of endpoints, not int 1"),
        ("endpoints", [1], "endpoints is a list of endpoints"),
        ("cluster", 1, "expected a list of node names or a strategy, got int"),
        ("cluster", [1], "a node name is a str or an Atom, not int 1"),
        ("cluster_backoff", 3, "cluster_backoff is a Backoff, not int 3"),
        ("cert", 1, "cert is the path of a PEM file, or its contents as bytes, not int 1"),
        ("key", ["secret"], "key is the path of a PEM file, or its contents as bytes, not list$"),
        ("quic", [("external_psk", "secret")], 'quic is a dict of settings, {"idle_timeout": 60}, not list$'),
        ("tls", {}, "tls is TlsSettings, not dict$"),
        ("limits", {}, "limits is Limits, not dict {}"),
        ("default", 1, "default is a function, not int 1"),
        ("tracer", 1, "tracer is a tracer, with client_span and server_span, not int 1"),
        ("net_ticktime", "60", "net_ticktime is a number of seconds, not str '60'"),
        ("setup_time", [7], "setup_time is a number of seconds"),
        ("max_frame", 1.5, "max_frame is a number of bytes, not float 1.5"),
        ("max_dials", "64", "max_dials is a number of dials, not str '64'"),
    ],
)
def test_an_option_of_a_wrong_type_is_refused_with_what_is_expected(
    option: str, value: Any, text: str
) -> None:
    with pytest.raises(TypeError, match=text.replace("{", r"\{").replace("(", r"\(")):
        Node("a@127.0.0.1", cookie="c", **{option: value})


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("port", -1, "port is -1: expected 0 to 65535"),
        ("port", 65536, "port is 65536: expected 0 to 65535"),
        ("net_ticktime", 0, "net_ticktime is 0: expected more than 0"),
        ("setup_time", -1.5, "setup_time is -1.5: expected more than 0"),
    ],
)
def test_a_number_out_of_range_is_refused(option: str, value: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Node("a@127.0.0.1", cookie="c", **{option: value})


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"idle_timeout": "60"}, "idle_timeout in quic: expected a number, not str$"),
        ({"resumption": 1}, "resumption in quic: expected True or False, not int$"),
        ({"external_psk": ("id", b"secret")}, "external_psk in quic: expected an ExternalPsk, not tuple$"),
    ],
)
def test_a_setting_of_the_quic_carrier_of_a_wrong_type_is_refused(
    settings: dict[str, Any], text: str
) -> None:
    with pytest.raises(NodeError, match=text):
        Node("a@127.0.0.1", cookie="c", quic=settings)


def test_a_long_value_is_cut() -> None:
    with pytest.raises(TypeError) as caught:
        check_option_types({"host": [b"x" * 1000] * 1000})
    assert len(str(caught.value)) < 200
