"""A node with a cluster's configuration files; options of the program override them."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from quicdist import Node, NodeError, make_development_certificates
from quicdist.carrier.quic.carrier import QuicCarrier
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.security.psk import ExternalPsk
from quicdist.carrier.tcp.carrier import TcpCarrier
from quicdist.config import ConfigError, read_config
from quicdist.discovery import DnsBackend, DnsClient
from quicdist.otp.global_server import Partitions
from tests.support.dns_server import dns_server


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Any]:
    """A sys.config and a vm.args, as the options ``config`` and ``vm_args``."""
    (tmp_path / "sys.config").write_text(
        '[{quic, [{dist, [{cert_file, "c.pem"}, {key_file, "k.pem"}, {cacert_file, "ca.pem"}, '
        "{verify, verify_peer}, {nodes, [{'py@127.0.0.1', {\"127.0.0.1\", 4711}}]}]}]}]."
    )
    (tmp_path / "vm.args").write_text(
        "-name py@127.0.0.1 -setcookie secret -setcookie a@h other -proto_dist quic inet_tcp "
        "-kernel net_ticktime 8 net_setuptime 3 -dist_listen false"
    )
    return {"config": tmp_path / "sys.config", "vm_args": tmp_path / "vm.args"}


def tls(node: Node) -> list[Any]:
    carrier = node.endpoints[0].carrier
    assert isinstance(carrier, QuicCarrier)
    settings = carrier.settings.tls
    return [str(settings.cert), str(settings.key), str(settings.cacert), settings.verify]


@pytest.mark.parametrize(
    ("dist", "client_certificate"),
    [
        ('{verify, verify_peer}, {cacert_file, "ca.pem"}', "require"),
        ("{verify, verify_peer}", "none"),
        ('{verify, verify_none}, {cacert_file, "ca.pem"}', "none"),
    ],
)
def test_a_node_without_listener(dist: str, client_certificate: str, tmp_path: Path) -> None:
    psks = (
        '{psks, #{<<"one">> => <<"0123456789abcdef">>}}, {external_psk, {<<"two">>, <<"0123456789abcdef">>}}'
    )
    (tmp_path / "sys.config").write_text(f"[{{quic, [{{dist, [{dist}, {psks}]}}]}}].")
    node = Node("py@127.0.0.1", cookie="secret", config=tmp_path / "sys.config")
    carrier = node.endpoints[0].carrier
    assert isinstance(carrier, QuicCarrier)
    settings = carrier.settings.tls
    assert settings.client_certificate == client_certificate
    assert settings.psks == {b"one": b"0123456789abcdef"}
    assert settings.external_psk == ExternalPsk(b"two", b"0123456789abcdef")


def test_all_settings_come_from_files(files: dict[str, Any]) -> None:
    node = Node(**files)
    assert node.name == "py@127.0.0.1"
    assert (node._local.cookie_for("b@h"), node._local.cookie_for("a@h")) == ("secret", "other")
    assert [type(endpoint.carrier) for endpoint in node.endpoints] == [QuicCarrier, TcpCarrier]
    assert [endpoint.listen for endpoint in node.endpoints] == [False, False]
    assert node.endpoints[0].port == 4711
    assert tls(node) == ["c.pem", "k.pem", "ca.pem", True]
    assert node.net_ticktime == 8


def test_options_of_the_program_override_files(files: dict[str, Any]) -> None:
    node = Node(
        "me@127.0.0.1",
        cookie="mine",
        carrier="quic",
        port=1,
        listen=True,
        cert="my-c.pem",
        key="my-k.pem",
        cacert="my-ca.pem",
        verify=False,
        net_ticktime=60,
        **files,
    )
    assert node.name == "me@127.0.0.1"
    assert (node._local.cookie_for("b@h"), node._local.cookie_for("a@h")) == ("mine", "other")
    (endpoint,) = node.endpoints
    assert (endpoint.port, endpoint.listen) == (1, True)
    assert tls(node) == ["my-c.pem", "my-k.pem", "my-ca.pem", False]
    assert node.net_ticktime == 60


def test_a_config_that_was_read_before(files: dict[str, Any]) -> None:
    config = read_config(**files)
    assert Node(config=config).name == "py@127.0.0.1"
    with pytest.raises(
        ConfigError, match="vm_args: the config has been read already: pass vm_args to read_config"
    ):
        Node(config=config, vm_args=files["vm_args"])


def test_defaults_without_files() -> None:
    node = Node("py@127.0.0.1", cookie="secret")
    assert tls(node) == ["None", "None", "None", True]
    assert (node.endpoints[0].port, node.endpoints[0].listen, node.net_ticktime) == (4433, True, 60)


def test_global_is_set_by_files_and_overridden_by_the_program(tmp_path: Path) -> None:
    vm_args, config = tmp_path / "vm.args", tmp_path / "sys.config"
    vm_args.write_text("-name a@127.0.0.1 -setcookie c -hidden false -connect_all false")
    config.write_text("[{kernel, [{prevent_overlapping_partitions, false}]}].")
    node = Node(carrier="tcp", vm_args=vm_args, config=config)
    assert node._running._partitions == Partitions(connect_all=False, prevent_overlapping=False)
    node = Node(carrier="tcp", vm_args=vm_args, config=config, connect_all=True)
    assert node._running._partitions == Partitions(connect_all=True, prevent_overlapping=False)
    assert Node("b@127.0.0.1", cookie="c")._running._partitions == Partitions(True, True)


def test_a_node_without_a_name_is_an_error() -> None:
    with pytest.raises(NodeError, match=r"a node needs a name: pass one, or a vm\.args with -name"):
        Node(cookie="secret")


def test_a_missing_config_file_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"no-such\.config: cannot be read: No such file or directory"):
        Node("py@127.0.0.1", cookie="secret", config="no-such")


async def test_nodes_of_a_cluster_are_found_by_dns_records(tmp_path: Path) -> None:
    """Discovery by DNS end to end: of two places for a node one is dead, and the other is found."""
    certs = make_development_certificates(tmp_path)
    async with dns_server() as server:
        sides = {"cookie": "secret", "cert": certs.cert, "key": certs.key, "cacert": certs.ca}
        async with Node("b@localhost", host="127.0.0.1", port=0, **sides) as b:  # type: ignore[arg-type]
            port = b.addresses[0].port
            own = "_erlang-dist._quic.localhost.cluster.test"
            server.records = [
                f"{own} 30 SRV 0 0 {port} dead.test.",
                f"{own} 30 SRV 1 0 {port} alive.test.",
                "dead.test 30 A 127.0.0.2",
                "alive.test 30 A 127.0.0.1",
            ]
            (tmp_path / "sys.config").write_text(
                "[{quic, [{dist, [{discovery_module, quic_discovery_dns}, {verify, verify_peer}]}]}]."
            )
            backend = DnsBackend("cluster.test", DnsClient([server.address]))
            config = read_config(tmp_path / "sys.config", modules={"quic_discovery_dns": backend})
            async with Node("a@localhost", config=config, listen=False, **sides) as a:  # type: ignore[arg-type]
                assert await a.ping("b@localhost")


def test_settings_of_quic(tmp_path: Path) -> None:
    """By name; they go before those of a configuration."""
    (tmp_path / "sys.config").write_text("[{quic, [{dist, [{idle_timeout, 9000}, {max_data, 5}]}]}].")
    asked = {"idle_timeout": 60.0, "congestion_control": "cubic", "resumption": False}
    node = Node("py@127.0.0.1", cookie="secret", config=tmp_path / "sys.config", quic=asked)
    carrier = node.endpoints[0].carrier
    assert isinstance(carrier, QuicCarrier)
    assert {name: getattr(carrier.settings, name) for name in asked} == asked
    assert carrier.settings.max_data == 5
    for unknown in ("congestion", "tls", "max_frame"):
        with pytest.raises(NodeError, match=f"unknown settings in quic: {unknown}; choose from"):
            Node("py@127.0.0.1", cookie="secret", quic={unknown: 1})


def test_the_settings_of_quic_are_on_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "carriers.md").read_text()
    rows = page.partition("\n### Settings\n")[2].partition("\n### ")[0].splitlines()
    named = {name for row in rows[6:] for name in re.findall(r"`(\w+)`", row.partition(" | ")[0])}
    fields = {field.name for field in dataclasses.fields(QuicSettings)}
    assert named == fields - {"tls", "net_ticktime", "max_frame", "sockets", "engines"}
