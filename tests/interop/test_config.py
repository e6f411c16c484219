"""A BEAM and a Python node started from the very same files."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from quicdist import Atom, Node, make_development_certificates
from quicdist.term import format_term, parse_term
from tests.interop.cluster import names
from tests.support.beam import Beam, erl_facts

pytestmark = pytest.mark.quic_dist


def write_sys_config(
    directory: Path,
    nodes: dict[str, int],
    more: str = "",
    *,
    verify: str = "verify_none",
    credentials: str | None = None,
) -> Path:
    """A sys.config with certificates and a table of nodes, all of 127.0.0.1."""
    if credentials is None:
        files = make_development_certificates(directory / "certs")
        names = {"cert_file": files.cert, "key_file": files.key, "cacert_file": files.ca}
        credentials = ", ".join(f'{{{option}, "{file}"}}' for option, file in names.items())
    table = ", ".join(f"{{'{node}', {{\"127.0.0.1\", {port}}}}}" for node, port in nodes.items())
    path = directory / "sys.config"
    path.write_text(
        f"[{{quic, [{{dist, [{credentials}, {{verify, {verify}}},\n"
        f"  {{discovery_module, quic_discovery_static}}, {{nodes, [{table}]}}]}}]}}{more}].\n"
    )
    return path


async def met(beam: Beam, theirs: str, node: Node) -> None:
    """Both dial the other: first the BEAM, then, from nothing again, the Python node."""
    assert await beam.eval(f"net_adm:ping('{node.name}')") == "pong"
    assert await beam.eval("nodes(hidden)") == f"['{node.name}']"
    assert await node.call(theirs, "erlang", "node") == Atom(theirs)
    await beam.eval(f"monitor_node('{node.name}', true)")
    node.disconnect(theirs)
    assert await beam.eval("receive {nodedown, N} -> N end") == f"'{node.name}'"
    assert await node.ping(theirs)
    assert await beam.eval(f"rpc:call('{node.name}', py, double, [21])") == "42"


async def test_the_same_sys_config_and_vm_args(
    tmp_path: Path, free_port: Callable[[], int], caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = names()
    our_port, their_port = free_port(), free_port()
    config = write_sys_config(
        tmp_path, {ours: our_port, theirs: their_port}, ",\n {kernel, [{net_ticktime, 30}]}"
    )
    certs = tmp_path / "certs"
    vm_args = tmp_path / "vm.args"
    vm_args.write_text(
        f"""## Node name
-name {theirs}
## Cookie
-setcookie "se cret"     # with a space in it
-proto_dist quic
-epmd_module quic_epmd
-start_epmd false
-quic_dist_port {their_port}
-quic_dist_cert {certs / "cert.pem"}
-quic_dist_key '{certs / "key.pem"}'
-config {config.with_suffix("")}
-kernel net_ticktime 20
+zdbbl 32768
+K true
"""
    )
    with Beam(["-args_file", str(vm_args)]) as beam:
        await beam.eval("{ok, _} = application:ensure_all_started(quic)")
        with caplog.at_level(logging.WARNING, "quicdist"):
            node = Node(ours, vm_args=vm_args, port=our_port, host="127.0.0.1")
        assert caplog.records == []
        node.export("py", "double")(lambda number: 2 * number)
        async with node:
            assert node.net_ticktime == int(await beam.eval("net_kernel:get_net_ticktime()")) == 20
            await met(beam, theirs, node)


@contextlib.asynccontextmanager
async def from_sys_config(
    directory: Path, free_port: Callable[[], int], **config: Any
) -> AsyncIterator[tuple[Beam, str, Node]]:
    """A BEAM and a Python node (a BEAM's name in between) with the same sys.config and nothing else."""
    ours, theirs = names()
    their_port = free_port()
    path = write_sys_config(directory, {ours: free_port(), theirs: their_port}, **config)
    # quic_dist reads a sys.config once the application is loaded: before that it listens for nobody,
    # so the node is started by hand. Its port cannot stand in a file that both read.
    args = ["-config", str(path.with_suffix("")), "-setcookie", "secret", "-start_epmd", "false"]
    args += ["-proto_dist", "quic", "-epmd_module", "quic_epmd", "-quic", "dist_port", str(their_port)]
    with Beam(args) as beam:
        await beam.eval("{ok, _} = application:ensure_all_started(quic)")
        await beam.eval(f"{{ok, _}} = net_kernel:start(['{theirs}', longnames])")
        await beam.eval("erlang:set_cookie(secret)")
        node = Node(ours, cookie="secret", config=path)
        node.export("py", "double")(lambda number: 2 * number)
        async with node:
            yield beam, theirs, node


@pytest.mark.parametrize("verify", ["verify_none", "verify_peer"])
async def test_the_same_sys_config_and_nothing_else(
    verify: str, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    async with from_sys_config(tmp_path, free_port, verify=verify) as (beam, theirs, node):
        await met(beam, theirs, node)


async def test_certificates_as_terms(tmp_path: Path, free_port: Callable[[], int]) -> None:
    """DER, and the record that quic_dist wants for the key."""
    files = make_development_certificates(tmp_path / "certs")
    with Beam() as beam:
        (cert,) = parse_term(
            beam.eval_now("{element(2, hd(public_key:pem_decode(Data)))}", files.cert.read_bytes())
        )
        key = beam.eval_now(
            "public_key:pem_entry_decode(hd(public_key:pem_decode(Data)))", files.key.read_bytes()
        )
    credentials = f"{{cert, {format_term(cert)}}}, {{key, {key}}}"
    async with from_sys_config(tmp_path, free_port, credentials=credentials) as (beam, theirs, node):
        await met(beam, theirs, node)


async def test_secrets_in_place_of_certificates(tmp_path: Path, free_port: Callable[[], int]) -> None:
    _, version = erl_facts()
    if tuple(map(int, str(version).split("."))) < (1, 4):
        pytest.skip(f"erlang_quic has external PSKs from 1.4.0 on; this is {version}")
    secret = '<<"0123456789abcdef0123456789abcdef">>'
    credentials = f'{{psks, #{{<<"cluster">> => {secret}}}}}, {{external_psk, {{<<"cluster">>, {secret}}}}}'
    async with from_sys_config(tmp_path, free_port, credentials=credentials) as (beam, theirs, node):
        await met(beam, theirs, node)
