"""What becomes of each option of a cluster's configuration."""

from __future__ import annotations

import logging
import math
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quicdist.carrier import Address
from quicdist.carrier.security.psk import ExternalPsk
from quicdist.config import Config, ConfigError, read_config
from quicdist.config.options import DIST, DIST_FLAGS, KERNEL, QUIC
from tests.support.quic_dist_options import DOCUMENTED

Read = Callable[..., Config]
SECRET = b"0123456789abcdef"


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Write a sys.config of this ``dist``, ``quic`` and ``kernel``, and a vm.args, and read them."""

    def write_and_read(
        dist: str | None = None, *, quic: str = "", kernel: str = "", vm_args: str | None = None, **more: Any
    ) -> Config:
        parts = [f"{{dist, [{dist}]}}"] if dist is not None else []
        (tmp_path / "sys.config").write_text(
            f"[{{quic, [{', '.join([*parts, *filter(None, [quic])])}]}}, {{kernel, [{kernel}]}}]."
        )
        if vm_args is not None:
            (tmp_path / "vm.args").write_text(vm_args)
        return read_config(
            tmp_path / "sys.config", None if vm_args is None else tmp_path / "vm.args", environ={}, **more
        )

    return write_and_read


def unsupported(config: Config) -> list[str]:
    return [entry.option for entry in config.unsupported]


def parameters(*tests: Callable[..., None]) -> str:
    """All that tests are parametrised with."""
    return repr([mark.args for test in tests for mark in getattr(test, "pytestmark", [])])


class TestEveryOption:
    def test_every_documented_option_is_known(self) -> None:
        assert set(DOCUMENTED) <= set(DIST)
        assert set(DIST_FLAGS.values()) <= set(DIST)

    @pytest.mark.parametrize(
        ("dist", "expected"),
        [
            ('{cert_file, "c.pem"}', {"cert_file": Path("c.pem")}),
            ('{key_file, <<"/etc/k.pem">>}', {"key_file": Path("/etc/k.pem")}),
            ('{cacert_file, "ca.pem"}', {"cacert_file": Path("ca.pem")}),
            ("{verify, verify_peer}", {"verify": True}),
            ("{verify, verify_none}", {"verify": False}),
            ('{verify, "verify_peer"}', {"verify": True}),
            ("", {}),
            ("{cert_file, undefined}", {"verify": False}),
            ("{discovery_module, quic_discovery_dns}", {"discovery_module": "quic_discovery_dns"}),
            ("{nodes, []}", {"nodes": {}}),
            (
                "{nodes, [{'a@h', {\"10.0.0.1\", 4501}}, {'b@h', {{10,0,0,2}, 4502}}, {'a@h', {\"x\", 1}},"
                " {'c@h', {{0,0,0,0,0,0,0,1}, 4503}}, {'d@h', {<<\"host\">>, 4504}}]}",
                {
                    "nodes": {
                        "a@h": Address("10.0.0.1", 4501),
                        "b@h": Address("10.0.0.2", 4502),
                        "c@h": Address("::1", 4503),
                        "d@h": Address("host", 4504),
                    }
                },
            ),
            ('{dns_domain, "cluster.example.com"}', {"dns_domain": "cluster.example.com"}),
            ("{dns_ttl, 5}", {"dns_ttl": 5}),
            ("{idle_timeout, 45000}", {"idle_timeout": 45.0}),
            ("{keep_alive_interval, 2500}", {"keep_alive_interval": 2.5}),
            ("{keep_alive_interval, auto}", {"keep_alive_interval": "auto"}),
            ("{max_data, 1048576}", {"max_data": 1 << 20}),
            ("{max_stream_data, 65536}", {"max_stream_data": 1 << 16}),
            ("{register_with_epmd, true}", {"register_with_epmd": True}),
            ("register_with_epmd", {"register_with_epmd": True}),
            ('{register_with_epmd, "false"}', {"register_with_epmd": False}),
            ("{auth_handshake_timeout, 2500}", {"auth_handshake_timeout": 2.5}),
            ("{auth_handshake_timeout, infinity}", {"auth_handshake_timeout": math.inf}),
            ('{psks, #{<<"one">> => <<"0123456789abcdef">>}}', {"psks": {b"one": SECRET}}),
            (
                '{external_psk, {<<"one">>, <<"0123456789abcdef">>}}',
                {"external_psk": ExternalPsk(b"one", SECRET)},
            ),
            (
                '{external_psk, {<<"one">>, <<"0123456789abcdef">>, [psk_ke, psk_dhe_ke]}}',
                {"external_psk": ExternalPsk(b"one", SECRET)},
            ),
            ("{pacing_enabled, true}, {lb_enabled, false}, {nat_enabled, false}", {}),
        ],
    )
    def test_supported_options_are_read(self, dist: str, expected: dict[str, Any], read: Read) -> None:
        found = read(dist)
        assert {name: getattr(found, name) for name in expected} == expected
        assert found.unsupported == ()

    @pytest.mark.parametrize(
        "dist",
        [
            "{keep_alive_interval, disabled}",
            "{auth_callback, {my_app_auth, authenticate}}",
            "{psk_callback, {m, f}}",
            '{external_psk, {<<"cluster">>, <<"0123456789abcdef">>, [psk_ke]}}',
            "{pacing_enabled, false}",
            "{congestion_threshold, 2}",
            "{max_pull_per_notification, 16}",
            "{backpressure_retry_ms, 10}",
            "{lb_enabled, true}",
            "{lb_server_id, auto}",
            '{lb_key, <<"k">>}',
            "{nat_enabled, true}",
            "{discovery_module, my_discovery}",
            "{nothing_like_it, 1}",
        ],
    )
    def test_unsupported_options_are_reported_by_name(
        self, dist: str, read: Read, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING, "quicdist.config"):
            found = read(f'{{cert_file, "c.pem"}}, {dist}')
        name = dist.strip("{").partition(",")[0]
        (entry,) = found.unsupported
        assert entry.option == f"dist {name}"
        assert entry.source == str(tmp_path / "sys.config")
        assert len(entry.reason) > 10
        (record,) = caplog.records
        assert record.getMessage() == f"{tmp_path}/sys.config: dist {name} is not supported: {entry.reason}"
        assert found.cert_file == Path("c.pem")

    def test_every_option_of_dist_is_tested_as_supported_or_not(self) -> None:
        text = parameters(
            self.test_supported_options_are_read, self.test_unsupported_options_are_reported_by_name
        )
        assert [name for name in DIST if name not in text] == []

    def test_dist_can_be_a_map(self, tmp_path: Path) -> None:
        path = tmp_path / "sys.config"
        path.write_text('[{quic, [{dist, #{cert_file => "c.pem", verify => verify_peer}}]}].')
        found = read_config(path)
        assert (found.cert_file, found.verify) == (Path("c.pem"), True)

    def test_dist_is_read_as_a_property_list(self, read: Read) -> None:
        found = read("{dns_ttl, 1}, {dns_ttl, 2}, {a, b, c}, 7")
        assert found.dns_ttl == 1
        assert unsupported(found) == ["dist dns_ttl", "dist {a,b,c}", "dist 7"]

    @pytest.mark.parametrize(
        ("dist", "message"),
        [
            ("{cert_file, 42}", "dist cert_file: a string expected, got 42"),
            ('{cert_file, ""}', "dist cert_file: the name of a file expected, got []"),
            (
                '{cert_file, "${CERT}"}',
                "dist cert_file: the environment variable CERT is not set: a string expected",
            ),
            ("{verify, verify_per}", "dist verify: verify_peer or verify_none expected, got verify_per"),
            ('{discovery_module, "x"}', 'dist discovery_module: an atom expected, got "x"'),
            ("{dns_ttl, -1}", "dist dns_ttl: an integer from 0 to 2147483648 expected, got -1"),
            ("{dns_ttl, true}", "dist dns_ttl: an integer from"),
            ("{idle_timeout, infinity}", "dist idle_timeout: an integer from"),
            ("{register_with_epmd, yes}", "dist register_with_epmd: true or false expected, got yes"),
            ("{nodes, x}", "dist nodes: [{'name@host', {Host, Port}}, ...] expected, got x"),
            ('{nodes, [{a, {"h", 1}}]}', "dist nodes: [{'name@host', {Host, Port}}, ...] expected"),
            ("{nodes, [{'a@h', {{1,2,3}, 1}}]}", "dist nodes: an IP address expected"),
            ("{nodes, [{'a@h', {{1,2,3,256}, 1}}]}", "dist nodes: an IP address expected"),
            ("{nodes, [{'a@h', {\"h\", 0}}]}", "dist nodes: an integer from 1 to 65535 expected"),
            ("{nodes, [{'a@h', {\"\", 1}}]}", "dist nodes: a host expected"),
        ],
    )
    def test_an_invalid_value_is_a_config_error(
        self, dist: str, message: str, read: Read, tmp_path: Path
    ) -> None:
        with pytest.raises(ConfigError, match=f"^{tmp_path}/sys.config: {re.escape(message)}"):
            read(dist)

    @pytest.mark.parametrize(
        ("dist", "message"),
        [
            ("{psks, [{a, b}]}", "dist psks: a map of binaries, #{Identity => Secret}, expected"),
            ('{psks, #{<<"one">> => <<"hidden">>}}', "dist psks: the secret of PSK b'one' has 6 bytes"),
            ('{psks, #{one => <<"hidden but long enough">>}}', "dist psks: a PSK identity is 1 to"),
            ('{external_psk, <<"hidden">>}', "dist external_psk: {Identity, Secret} or {Identity, Secret,"),
            ('{external_psk, {<<"one">>, <<"hidden, long enough">>, []}}', "dist external_psk: {Identity,"),
        ],
    )
    def test_secrets_are_not_shown(self, dist: str, message: str, read: Read, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=f"^{tmp_path}/sys.config: {re.escape(message)}") as caught:
            read(dist)
        assert "hidden" not in str(caught.value)

    @pytest.mark.parametrize("option", ["auth_callback", "psk_callback"])
    @pytest.mark.parametrize("value", ["{m, 1}", "m", '"m"', '":f"', "fun m:f/2"])
    def test_an_invalid_function_is_a_config_error(self, option: str, value: str, read: Read) -> None:
        expected = f"dist {option}: {{Module, Function}} or fun .* expected, got "
        with pytest.raises(ConfigError, match=expected):
            read(f"{{{option}, {value}}}")

    @pytest.mark.parametrize("name", ["{my_auth, check}", '"my_auth:check"'])
    def test_a_function_in_functions_replaces_the_erlang_one(self, name: str, read: Read) -> None:
        async def check(peer: Any) -> bool:
            return True

        found = read(f"{{auth_callback, {name}}}", functions={"my_auth:check": check})
        assert (found.auth_callback, found.unsupported) == (check, ())
        assert found.quic_settings() == {"auth_callback": check}

    def test_the_psk_callback_is_asked_before_the_psks_table(self, read: Read) -> None:
        found = read(
            '{psks, #{<<"one">> => <<"0123456789abcdef">>, <<"two">> => <<"0123456789abcdef">>}}',
            vm_args="-quic_dist_psk_callback keys:find",
            functions={"keys:find": {b"one": b"another secret, longer"}.get},
        )
        assert found.unsupported == ()
        assert callable(found.psks)
        assert [found.psks(name) for name in (b"one", b"two", b"three")] == [
            b"another secret, longer",
            SECRET,
            None,
        ]

    def test_secrets_are_not_printed(self, read: Read) -> None:
        found = read(
            '{psks, #{<<"one">> => <<"hidden hidden hidden">>}}, '
            '{external_psk, {<<"two">>, <<"hidden hidden hidden">>}}',
            vm_args="-setcookie hidden -setcookie a@h hidden",
        )
        assert found.cookie == "hidden"
        assert "hidden hidden" not in repr(found)
        assert "'hidden'" not in repr(found)

    def test_dist_that_is_no_list_is_a_config_error(self, read: Read) -> None:
        with pytest.raises(ConfigError, match=r"\{quic, \[\{dist, ...\}\]\}: a list expected, got 7$"):
            read(quic="{dist, 7}")

    def test_options_of_quic_besides_dist(self, read: Read) -> None:
        found = read(quic="{dist_port, 4500}, {qlog, #{enabled => true}}, {other, 1}")
        assert found.dist_port == 4500
        assert unsupported(found) == ["quic qlog", "quic other"]
        assert set(QUIC) == {"dist_port", "qlog"}


class TestKernel:
    @pytest.mark.parametrize(
        ("kernel", "expected"),
        [
            ("{net_ticktime, 8}", {"net_ticktime": 8.0}),
            ("{net_ticktime, 0}", {"net_ticktime": 1.0}),
            ("{net_setuptime, 12}", {"setup_time": 12.0}),
            ("{net_setuptime, 0.5}", {"setup_time": 0.5}),
            ("{net_setuptime, 500}", {"setup_time": 120.0}),
            ("{inet_dist_listen_min, 9100}", {"tcp_port_min": 9100}),
            ("{inet_dist_listen_max, 9200}", {"tcp_port_max": 9200}),
            ("{inet_dist_use_interface, {127,0,0,1}}", {"tcp_host": "127.0.0.1"}),
            ("{erl_epmd_node_listen_port, 9000}", {"erl_epmd_port": 9000}),
            ("{net_tickintensity, 4}", {}),
            ("{connect_all, false}", {"connect_all": False}),
            ("{prevent_overlapping_partitions, false}", {"prevent_overlapping_partitions": False}),
        ],
    )
    def test_supported_options_are_read(self, kernel: str, expected: dict[str, Any], read: Read) -> None:
        found = read(kernel=kernel)
        assert {name: getattr(found, name) for name in expected} == expected
        assert (found.unsupported, found.unrelated) == ((), ())

    @pytest.mark.parametrize(
        "kernel",
        [
            "{net_tickintensity, 8}",
            "{inet_dist_listen_options, [{nodelay, true}]}",
            "{inet_dist_connect_options, []}",
            "{dist_auto_connect, never}",
            "{global_groups, [{group, [a@host]}]}",
        ],
    )
    def test_unsupported_kernel_parameters_are_reported_by_name(self, kernel: str, read: Read) -> None:
        found = read(kernel=kernel)
        assert unsupported(found) == ["kernel " + kernel.strip("{").partition(",")[0]]

    def test_options_that_do_not_concern_distribution_are_listed_as_unrelated(self, read: Read) -> None:
        found = read(kernel="{logger_level, info}", vm_args="-noshell\n+K true\n-sasl x y\n-hidden")
        assert (found.unsupported, found.unrelated) == (
            (),
            ("kernel logger_level", "-noshell", "-sasl", "+K"),
        )

    @pytest.mark.parametrize(
        ("vm_args", "expected"),
        [
            ("+K true", None),
            ("+sbwt none", False),
            ("+sbwtnone", False),
            ("+sbwt very_short", True),
            ("+sbwt none +K true +sbwt long", True),
            ("+sbwtdcpu none +sbwtdio none", None),
        ],
    )
    def test_the_scheduler_busy_wait_threshold_is_read(
        self, vm_args: str, expected: bool | None, read: Read
    ) -> None:
        found = read(vm_args=vm_args)
        assert found.busy_wait is expected
        assert "+sbwt" not in found.unrelated

    def test_an_unknown_busy_wait_threshold_is_a_config_error(self, read: Read) -> None:
        with pytest.raises(ConfigError, match=r"\+sbwt: one of .*very_short expected, got 'never'"):
            read(vm_args="+sbwt never")

    @pytest.mark.parametrize("value", ["x", "0", "-1", "true"])
    def test_an_invalid_setup_time_is_a_config_error(self, value: str, read: Read) -> None:
        with pytest.raises(ConfigError, match=r"kernel net_setuptime: a number of seconds above 0 expected"):
            read(kernel=f"{{net_setuptime, {value}}}")

    def test_every_kernel_parameter_is_tested(self) -> None:
        text = parameters(
            self.test_supported_options_are_read, self.test_unsupported_kernel_parameters_are_reported_by_name
        )
        assert [name for name in KERNEL if name not in text] == []


class TestFlags:
    @pytest.mark.parametrize(
        ("vm_args", "expected"),
        [
            ("-name a@host.example.com", {"name": "a@host.example.com"}),
            ("-sname a@host", {"name": "a@host"}),
            ("-name b@h.test -sname a@h", {"name": "a@h"}),
            ("-name undefined@h.test", {"name": "undefined@h.test"}),
            ("-name a@h.test -name b@h.test", {"name": "a@h.test"}),
            ("-setcookie secret", {"cookie": "secret", "cookies": {}}),
            ("-setcookie secret -setcookie a@h other", {"cookie": "secret", "cookies": {"a@h": "other"}}),
            ("-nocookie", {"cookie": "nocookie"}),
            ("-setcookie secret -nocookie", {"cookie": "secret"}),
            ("-proto_dist quic", {"carriers": ("quic",)}),
            ("-proto_dist quic inet_tcp", {"carriers": ("quic", "tcp"), "tcp_family": "inet"}),
            ("-proto_dist inet6_tcp", {"carriers": ("tcp",), "tcp_family": "inet6"}),
            ("-hidden", {"hidden": True}),
            ("-hidden true", {"hidden": True}),
            ("-hidden false", {"hidden": False}),
            ("-kernel net_ticktime 8", {"hidden": None, "listen": None}),
            ("-dist_listen false", {"listen": False}),
            ("-dist_listen true", {"listen": True}),
            ("-connect_all false", {"connect_all": False}),
            ("-connect_all true", {"connect_all": None}),
            ("-epmd_module quic_epmd -start_epmd false", {"epmd_module": "quic_epmd", "start_epmd": False}),
            ("-start_epmd false -start_epmd true", {"start_epmd": True}),
            ("-no_epmd", {"epmd": False}),
            ("-erl_epmd_port 9100", {"erl_epmd_port": 9100}),
            ("-env ERL_EPMD_PORT 4370 -hidden", {"epmd_port": 4370}),
            ("-quic_dist_port 0", {"port": 0}),
            ("-quic_dist_port 4501", {"port": 4501}),
            ("-quic_dist_cert c.pem -quic_dist_key k.pem", {"cert_file": Path("c.pem"), "verify": False}),
            ("-quic_dist cert c.pem -quic_dist key k.pem", {"key_file": Path("k.pem")}),
            ("-quic_dist cert a -quic_dist cert b -quic_dist_cert c", {"cert_file": Path("c")}),
            ("-quic_dist cert a -quic_dist cert b", {"cert_file": Path("a")}),
            ("-quic_dist_cacert ca.pem", {"cacert_file": Path("ca.pem")}),
            ("-quic_dist_register_with_epmd true", {"register_with_epmd": True}),
            ("-quic_dist_auth_handshake_timeout 10", {"auth_handshake_timeout": 0.01}),
            ("-quic_dist_auth_handshake_timeout infinity", {"auth_handshake_timeout": math.inf}),
            ("""-quic_dist nodes "[{'a@h',{{10,0,0,1},1}}]" """, {"nodes": {"a@h": Address("10.0.0.1", 1)}}),
            ("-kernel net_ticktime 8 net_setuptime 3", {"net_ticktime": 8.0, "setup_time": 3.0}),
            ("-kernel net_ticktime 8 -kernel net_ticktime 9", {"net_ticktime": 9.0}),
            ("-kernel net_ticktime 8 net_ticktime 9", {"net_ticktime": 8.0}),
            ("""-kernel inet_dist_use_interface "{127,0,0,1}" """, {"tcp_host": "127.0.0.1"}),
            ("-quic dist_port 4502", {"dist_port": 4502}),
            ("""-quic dist "[{dns_ttl,7}]" """, {"dns_ttl": 7}),
        ],
    )
    def test_supported_options_are_read(self, vm_args: str, expected: dict[str, Any], read: Read) -> None:
        found = read(vm_args=vm_args)
        assert {name: getattr(found, name) for name in expected} == expected
        assert found.unsupported == ()

    @pytest.mark.parametrize(
        ("vm_args", "options"),
        [
            ("-quic_dist_verify verify_peer", ["-quic_dist_verify"]),
            ("-quic_dist verify verify_peer", ["-quic_dist verify verify_peer"]),
            ("-quic_dist cert", ["-quic_dist cert"]),
            ("-quic_dist_cert a -quic_dist_cert b", ["-quic_dist_cert"]),
            ("-quic_dist_cert a b", ["-quic_dist_cert"]),
            ("-quic_dist_port 1 -quic_dist_port 2", ["-quic_dist_port"]),
            ("-quic_dist_auth_callback m:f", ["dist auth_callback"]),
            ("-quic_dist psk_callback m:f", ["dist psk_callback"]),
            ("-setcookie a -setcookie b", ["-setcookie"]),
            ("-setcookie", ["-setcookie"]),
            ("-setcookie a b c", ["-setcookie"]),
            ("-setcookie a@h x -setcookie a@h y", ["-setcookie a@h"]),
            ("-proto_dist inet_foo", ["-proto_dist inet_foo"]),
            ("-proto_dist quic -proto_dist inet_tcp", ["-proto_dist"]),
            ("-erl_epmd_port", ["-erl_epmd_port"]),
            ("-configfd 3", ["-configfd"]),
            ("-epmd_module my_epmd", ["-epmd_module"]),
            ("-kernel net_ticktime", ["-kernel net_ticktime"]),
        ],
    )
    def test_unsupported_flags_are_reported_by_name(
        self, vm_args: str, options: list[str], read: Read
    ) -> None:
        assert unsupported(read(vm_args=vm_args)) == options

    @pytest.mark.parametrize(
        ("vm_args", "message"),
        [
            ("-sname a@h.test", "-sname: the host of a short name cannot have dots: a@h.test"),
            ("-name a b", "-name: one name expected, got 'a b'"),
            ("-start_epmd maybe", "-start_epmd: true or false expected, got 'maybe'"),
            ("-quic_dist_port 65536", "-quic_dist_port: a port from 0 to 65535 expected, got '65536'"),
            ("-erl_epmd_port 0", "-erl_epmd_port: a port from 1 to 65535 expected, got '0'"),
            ("-quic_dist_port ${PORT}", "-quic_dist_port: the environment variable PORT is not set"),
            ("-setcookie ${COOKIE}", "-setcookie: the environment variable COOKIE is not set"),
            ("-kernel net_ticktime [", "-kernel net_ticktime [: Erlang terms expected: "),
            ("-kernel net_ticktime x", "kernel net_ticktime: an integer from"),
            (
                "-quic_dist_cert ${C}",
                "-quic_dist_cert: dist cert_file: the environment variable C is not set",
            ),
            (
                "-quic_dist_register_with_epmd x",
                "-quic_dist_register_with_epmd: dist register_with_epmd: true or",
            ),
        ],
    )
    def test_an_invalid_flag_is_a_config_error(
        self, vm_args: str, message: str, read: Read, tmp_path: Path
    ) -> None:
        with pytest.raises(ConfigError, match=f"^{tmp_path}/vm.args: {re.escape(message)}"):
            read(vm_args=vm_args)

    def test_a_short_name_without_host_gets_this_machines_host(self, read: Read) -> None:
        host = socket.gethostname().partition(".")[0]
        assert read(vm_args="-sname undefined").name == f"undefined@{host}"
        assert read(vm_args="-sname a").name == f"a@{host}"

    @pytest.mark.parametrize("full", ["host.example.com", "host"])
    def test_a_long_name_without_host_gets_this_machines_full_name(
        self, full: str, read: Read, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(socket, "getfqdn", lambda: full)
        if "." in full:
            assert read(vm_args="-name a").name == f"a@{full}"
            return
        with pytest.raises(ConfigError, match="-name: a has no host, and this machine has no full name"):
            read(vm_args="-name a")


class TestPrecedence:
    def test_flags_override_files(self, read: Read) -> None:
        found = read(
            '{cert_file, "file"}, {nodes, [{\'a@h\', {"h", 1}}]}',
            quic="{dist_port, 1}",
            kernel="{net_ticktime, 8}",
            vm_args="-quic_dist_cert flag -quic dist_port 2 -kernel net_ticktime 9 "
            """-quic_dist nodes "[{'b@h',{{10,0,0,1},1}}]" """,
        )
        assert (found.cert_file, found.dist_port, found.net_ticktime) == (Path("flag"), 2, 9.0)
        # quic_discovery_static looks at that flag only where there is no `nodes`.
        assert set(found.nodes) == {"a@h"}

    def test_files_of_the_program_override_those_of_vm_args(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        for name, text in {
            "one": "[{quic, [{dist_port, 1}, {dist, [{dns_ttl, 1}]}]}].",
            "two": "[{quic, [{dist_port, 2}]}].",
            "three": "[{kernel, [{net_ticktime, 3}]}, {quic, [{dist_port, 3}]}].",
        }.items():
            (tmp_path / f"{name}.config").write_text(text)
        (tmp_path / "vm.args").write_text("-config one\n-config two.config")
        found = read_config(vm_args="vm.args")
        assert (found.dist_port, found.dns_ttl) == (2, 1)
        found = read_config("three", "vm.args")
        assert (found.dist_port, found.dns_ttl, found.net_ticktime) == (3, 1, 3.0)
        found = read_config(["three.config", tmp_path / "two.config"], "vm.args")
        assert (found.dist_port, found.net_ticktime) == (2, 3.0)

    def test_without_files_the_config_is_empty(self) -> None:
        assert read_config() == Config(modules={}, dist={})

    def test_the_carrier_without_proto_dist_is_tcp_unless_quic_dist_is_configured(self, read: Read) -> None:
        assert read(vm_args="-name a@h.test").carriers == ("tcp",)
        assert read("{dns_ttl, 1}", vm_args="-name a@h.test").carriers is None
        assert read(vm_args="-quic_dist_port 4433").carriers is None
        assert read().carriers is None

    def test_verify_is_not_set_where_quic_dist_is_not_configured(self, read: Read) -> None:
        assert read(quic="{dist_port, 4433}").verify is None

    def test_modules_of_the_program_are_kept(self, read: Read) -> None:
        own = object()
        found = read(
            "{discovery_module, my_discovery}",
            vm_args="-epmd_module my_epmd",
            modules={"my_discovery": own, "my_epmd": own},
        )
        assert found.unsupported == ()
        assert found.modules["my_discovery"] is own
