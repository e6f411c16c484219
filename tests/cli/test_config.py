"""``--config`` and ``--vm-args``: the command takes a cluster's own files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.cli.command import run, run_program
from tests.cli.peers import echo_node, node_name


def write(directory: Path, certs: Path, node: str, port: int, more: str = "") -> tuple[str, ...]:
    """A sys.config and a vm.args; the options that name them."""
    (directory / "sys.config").write_text(
        f'[{{quic, [{{dist, [{{cert_file, "{certs}/cert.pem"}}, {{key_file, "{certs}/key.pem"}}, '
        f'{{cacert_file, "{certs}/ca.pem"}}, {{verify, verify_peer}}{more}, '
        f"{{nodes, [{{'{node}', {{\"127.0.0.1\", {port}}}}}]}}]}}]}}]."
    )
    (directory / "vm.args").write_text("-name someone@127.0.0.1 -setcookie config -proto_dist quic\n")
    return "--config", str(directory / "sys.config"), "--vm-args", str(directory / "vm.args")


def test_a_node_and_the_command_from_the_same_files(
    tmp_path: Path, certs: Path, free_port: Callable[[], int]
) -> None:
    name, port = node_name("echo"), free_port()
    files = write(tmp_path, certs, name, port)
    with echo_node("--name", name, "--host", "127.0.0.1", *files) as node:
        assert node.read_line().endswith(f"127.0.0.1:{port}")
        assert run_program("ping", name, *files) == (0, "pong\n", "")
        status, _, err = run("ping", name, *files, "--cookie", "other")
        assert status == 1
        assert "wrong cookie" in err


def test_what_is_not_supported_is_said(tmp_path: Path, certs: Path, free_port: Callable[[], int]) -> None:
    name = node_name("nobody")
    files = write(tmp_path, certs, name, free_port(), ", {lb_enabled, true}")
    status, out, err = run_program("ping", name, *files)
    assert (status, out) == (1, "pang\n")
    first, second = err.splitlines()
    assert first.startswith(f"{tmp_path}/sys.config: dist lb_enabled is not supported: ")
    assert second.startswith(f"quicdist: cannot reach node {name}: ")


def test_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "sys.config").write_text("[{quic, [{dist, [{verify, perhaps}]}]}].")
    status, out, err = run("ping", "a@127.0.0.1", "--config", str(tmp_path / "sys.config"))
    assert (status, out) == (2, "")
    assert "dist verify: verify_peer or verify_none expected, got perhaps" in err
