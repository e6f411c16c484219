"""``quicdist ping`` and ``quicdist call`` against a Python echo node: exit statuses, output, reasons."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

from tests.cli.command import run, run_program
from tests.cli.peers import COOKIE, Peer, at, copied_example, echo_node, node_name, port_of


class TestPing:
    def test_unverified(self, echo: Peer) -> None:
        assert run_program("ping", echo.name, *echo.options, "--no-verify") == (0, "pong\n", "")

    def test_verified(self, echo: Peer, certs: Path) -> None:
        ca = str(certs / "ca.pem")
        assert run_program("ping", echo.name, *echo.options, "--cacert", ca) == (0, "pong\n", "")

    def test_a_certificate_no_known_ca_has_signed(self, echo: Peer) -> None:
        status, out, err = run_program("ping", echo.name, *echo.options)
        assert (status, out) == (1, "pang\n")
        port = echo.options[-1].rpartition(":")[2]
        assert err == (
            f"quicdist: cannot reach node {echo.name}: cannot connect to {echo.name} at 127.0.0.1:{port}: "
            "the certificate of the peer was refused: unable to get local issuer certificate "
            "(carrier: quic)\n"
        )

    def test_a_certificate_for_another_host(self, tmp_path: Path) -> None:
        certs = tmp_path / "certs"
        assert run("certs", str(certs), "--host", "elsewhere.example").status == 0
        name = node_name("echo")
        files = ("--cert", str(certs / "cert.pem"), "--key", str(certs / "key.pem"))
        with echo_node(
            "--name", name, "--cookie", COOKIE, "--host", "127.0.0.1", "--port", "0", *files
        ) as node:
            where = at(name, port_of(node.read_line()))
            status, out, err = run(
                "ping", name, "--cookie", COOKIE, *where, "--cacert", str(certs / "ca.pem")
            )
        assert (status, out) == (1, "pang\n")
        assert "the certificate of the peer was refused" in err
        assert "127.0.0.1" in err

    def test_a_wrong_cookie(self, echo: Peer) -> None:
        status, out, err = run("ping", echo.name, *echo.options, "--no-verify", "--cookie", "other")
        assert (status, out) == (1, "pang\n")
        assert err.startswith(f"quicdist: cannot reach node {echo.name}: wrong cookie for {echo.name}: ")
        assert err.count("\n") == 1

    def test_another_node_than_the_one_meant(self, echo: Peer) -> None:
        port = int(echo.options[-1].rpartition(":")[2])
        options = ("--cookie", COOKIE, *at("other@127.0.0.1", port), "--no-verify")
        status, out, err = run("ping", "other@127.0.0.1", *options)
        assert (status, out) == (1, "pang\n")
        assert err == (
            "quicdist: cannot reach node other@127.0.0.1: dialled other@127.0.0.1, but the node that "
            f"answered calls itself '{echo.name}' (carrier: quic)\n"
        )

    def test_nobody_there(self, free_port: Callable[[], int]) -> None:
        name, port = node_name("nobody"), free_port()
        status, out, err = run("ping", name, "--cookie", COOKIE, *at(name, port))
        assert (status, out) == (1, "pang\n")
        assert err == (
            f"quicdist: cannot reach node {name}: cannot connect to {name} at 127.0.0.1:{port}: "
            "connection refused (ICMP port unreachable) (carrier: quic)\n"
        )

    def test_nobody_answers(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            name, port = node_name("silent"), silent.getsockname()[1]
            options = ("--cookie", COOKIE, *at(name, port), "--timeout", "0.3")
            for command in (("ping", name), ("call", name, "a", "b")):
                status, out, err = run(*command, *options)
                assert (status, out) == (1, "pang\n" if command[0] == "ping" else "")
                assert (
                    f"cannot connect to {name} at 127.0.0.1:{port}: no QUIC handshake response within 0."
                    in err
                )

    def test_an_invalid_ca_file_is_an_error(self, echo: Peer, tmp_path: Path) -> None:
        path = tmp_path / "ca.pem"
        path.write_text("nothing of the kind\n")
        status, out, err = run("ping", echo.name, *echo.options, "--cacert", str(path))
        assert (status, out) == (1, "pang\n")
        assert f"{path} holds no certificate in PEM form" in err

    def test_the_cookie_of_this_user(self, echo: Peer, tmp_path: Path) -> None:
        cookie = tmp_path / ".erlang.cookie"
        cookie.write_text(COOKIE + "\n")
        cookie.chmod(0o400)
        options = (*echo.options[2:], "--no-verify")
        assert run_program("ping", echo.name, *options, env={"HOME": str(tmp_path)}) == (0, "pong\n", "")
        cookie.chmod(0o644)
        status, out, err = run_program("ping", echo.name, *options, env={"HOME": str(tmp_path)})
        assert (status, out) == (1, "pang\n")
        assert err == (
            f"quicdist: cookie file {cookie} must be accessible by owner only, "
            "its mode is 0644: chmod 400 it\n"
        )


class TestCall:
    def test_a_function(self, echo: Peer) -> None:
        result = run_program(
            "call", echo.name, "echo", "echo", '[{ok, <<"x">>}]', *echo.options, "--no-verify"
        )
        assert result == (0, '{ok,<<"x">>}\n', "")

    def test_a_function_that_is_not_exported(self, echo: Peer) -> None:
        assert run("call", echo.name, "os", "system", '["true"]', *echo.options, "--no-verify") == (
            1,
            "",
            f'quicdist: os:system/1 on {echo.name}: error: undef\n  in os:system("true")\n',
        )

    def test_not_connected(self, echo: Peer) -> None:
        status, out, err = run("call", echo.name, "echo", "echo", "[1]", *echo.options)
        assert (status, out) == (1, "")
        assert err.startswith(f"quicdist: cannot reach node {echo.name}: ")


class TestEchoNode:
    def test_a_certificate_is_made_on_first_use(self, tmp_path: Path) -> None:
        script = copied_example(tmp_path)
        certs = tmp_path / "certs"
        name = node_name("first")
        arguments = ("--name", name, "--cookie", COOKIE, "--host", "127.0.0.1", "--port", "0")
        with echo_node(*arguments, script=script) as node:
            line = node.read_line()
            where = at(name, port_of(line))
            assert line == f"{name} listens on quic 127.0.0.1:{port_of(line)}"
            made = (certs / "cert.pem").read_bytes()
            ping = ("ping", name, "--cookie", COOKIE, *where, "--cacert", str(certs / "ca.pem"))
            assert run(*ping) == (0, "pong\n", "")
            said = node.end()
        assert said.startswith(
            f"made a development certificate in {certs}\n"
            f"using the development certificate in {certs}: for tests only, not for a cluster\n"
        )
        assert node.process.returncode == 0
        with echo_node(*arguments, script=script) as node:
            assert node.read_line().startswith(f"{name} listens on quic ")
            assert "made a development certificate" not in node.end()
        assert (certs / "cert.pem").read_bytes() == made

    def test_both_carriers(self, certs: Path) -> None:
        name = node_name("both")
        files = ("--cert", str(certs / "cert.pem"), "--key", str(certs / "key.pem"))
        both = ("--carrier", "quic", "--carrier", "tcp", "--host", "127.0.0.1", "--port", "0")
        with echo_node("--name", name, "--cookie", COOKIE, *both, *files) as node:
            quic, tcp = node.read_line(), node.read_line()
            assert quic.startswith(f"{name} listens on quic 127.0.0.1:")
            assert tcp.startswith(f"{name} listens on tcp 127.0.0.1:")
            for line, options in ((quic, ("--no-verify",)), (tcp, ("--carrier", "tcp"))):
                ping = ("ping", name, "--cookie", COOKIE, *at(name, port_of(line)), *options)
                assert run(*ping) == (0, "pong\n", "")

    def test_a_refusal_is_logged(self, echo: Peer, certs: Path) -> None:
        name = node_name("strict")
        files = ("--cert", str(certs / "cert.pem"), "--key", str(certs / "key.pem"))
        with echo_node(
            "--name", name, "--cookie", COOKIE, "--host", "127.0.0.1", "--port", "0", *files
        ) as node:
            where = at(name, port_of(node.read_line()))
            stranger = node_name("stranger")
            options = ("--name", stranger, "--cookie", "other", "--no-verify", *where)
            assert run("ping", name, *options).status == 1
            assert run("ping", name, "--cookie", COOKIE, "--no-verify", *where).status == 0
            assert f"refused: wrong cookie for {stranger}: " in node.end()

    def test_a_port_that_is_taken(self, echo: Peer, certs: Path) -> None:
        port = echo.options[-1].rpartition(":")[2]
        files = ("--cert", str(certs / "cert.pem"), "--key", str(certs / "key.pem"))
        where = ("--host", "127.0.0.1", "--port", port)
        with echo_node("--name", node_name("late"), "--cookie", COOKIE, *where, *files) as node:
            _, err = node.process.communicate(timeout=30)
        assert (node.process.returncode, err.decode()) == (
            1,
            f"echo_node: cannot listen at 127.0.0.1 port {port}: Address already in use\n",
        )
