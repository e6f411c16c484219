"""A BEAM and a Python node started from the very same files."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from quicdist import Atom, Node, make_development_certificates
from tests.interop.cluster import names
from tests.support.beam import Beam

pytestmark = pytest.mark.quic_dist

PONG = Atom("pong")


def write_sys_config(directory: Path, nodes: dict[str, int], more: str = "") -> Path:
    """A sys.config with certificates and a table of nodes, all of 127.0.0.1."""
    files = make_development_certificates(directory / "certs")
    table = ", ".join(f"{{'{node}', {{\"127.0.0.1\", {port}}}}}" for node, port in nodes.items())
    path = directory / "sys.config"
    path.write_text(
        f'[{{quic, [{{dist, [{{cert_file, "{files.cert}"}}, {{key_file, "{files.key}"}}, '
        f'{{cacert_file, "{files.ca}"}}, {{verify, verify_none}},\n'
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
    assert await node.ping(theirs) == PONG
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


async def test_the_same_sys_config_and_nothing_else(tmp_path: Path, free_port: Callable[[], int]) -> None:
    ours, theirs = names()
    their_port = free_port()
    config = write_sys_config(tmp_path, {ours: free_port(), theirs: their_port})
    # quic_dist reads a sys.config once the application is loaded: before that it listens for nobody,
    # so the node is started by hand. Its port cannot stand in a file that both read.
    args = ["-config", str(config.with_suffix("")), "-setcookie", "secret", "-start_epmd", "false"]
    args += ["-proto_dist", "quic", "-epmd_module", "quic_epmd", "-quic", "dist_port", str(their_port)]
    with Beam(args) as beam:
        await beam.eval("{ok, _} = application:ensure_all_started(quic)")
        await beam.eval(f"{{ok, _}} = net_kernel:start(['{theirs}', longnames])")
        await beam.eval("erlang:set_cookie(secret)")
        node = Node(ours, cookie="secret", config=config)
        node.export("py", "double")(lambda number: 2 * number)
        async with node:
            await met(beam, theirs, node)
