"""The modules that a program loads: no QUIC, TLS or DNS unless it uses them.

Each case is a program of its own, since this process has everything loaded.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import quicdist
import quicdist.carrier
import quicdist.cluster
import quicdist.config
import quicdist.discovery
import quicdist.node
import quicdist.otp
import quicdist.sync
from quicdist import make_development_certificates

SOURCE = Path(quicdist.__file__).parent

#: Those that are slow to load or that only some nodes need, by the module that says so.
HEAVY = {"aioquic", "cryptography", "dns", "ssl", "importlib.metadata"}
NETWORK = {"aioquic", "cryptography", "dns"}

#: What a program that encodes and decodes terms does not load.
CODEC = HEAVY | {
    "asyncio",
    "dataclasses",
    "inspect",
    "decimal",
    "quicdist.protocol",
    "quicdist.term.text.format",
}

#: The behaviours, which a node loads with the first server of theirs.
BEHAVIOURS = {
    f"quicdist.otp.{name}"
    for name in (
        "gen_event",
        "supervisor",
        "task_supervisor",
        "child_spec",
        "metrics",
        "introspection",
    )
}

#: What a command that asks one question does without: services for other nodes, and readers of files.
SERVING = BEHAVIOURS | {
    *(f"quicdist.otp.{name}" for name in ("node", "services", "gen_server", "global_server", "rpc_server")),
    *("quicdist.cluster.backoff", "quicdist.node.cluster", "quicdist.config.reader"),
    *(
        "quicdist.discovery.epmd_daemon",
        "quicdist.term.text.compound_parser",
        "quicdist.carrier.tls.settings",
    ),
}

TCP_NODES = """
import asyncio
from quicdist import Atom, Node, NodeError, NotConnected, PeerUnreachable, QuicDistError, StreamsNotSupported

async def main():
    tcp = {"carrier": "tcp", "epmd": False, "cookie": "loading", "host": "127.0.0.1"}
    async with Node("listener@127.0.0.1", port=0, **tcp) as listener:
        table = {"listener@127.0.0.1": ("127.0.0.1", listener.addresses[0].port)}
        async with Node("dialler@127.0.0.1", nodes=table, listen=False, **tcp) as dialler:
            here = asyncio.get_running_loop().create_future()
            listener.spawn(lambda process, message: here.set_result(message), name="taker")
            await dialler.connect("listener@127.0.0.1")
            dialler.send(("taker", "listener@127.0.0.1"), Atom("hello"))
            assert await here == Atom("hello")
            for failing, kind in [
                (dialler.open_stream("listener@127.0.0.1"), StreamsNotSupported),
                (dialler.connect("nobody@127.0.0.1"), NotConnected),
            ]:
                try:
                    await failing
                except PeerUnreachable:
                    raise AssertionError("another error was expected") from None
                except kind:
                    pass
                else:
                    raise AssertionError(f"{kind} was expected")
            try:
                dialler.quic_dist.get_connect_options("listener@127.0.0.1")
            except NodeError:
                pass
            else:
                raise AssertionError("a node over TCP has no connect options")

asyncio.run(main())
"""

COMMAND = """
import sys
from quicdist.cli import main
main({arguments!r}, standalone_mode=False)
"""

PING_OVER_TCP = """
from quicdist.cli import main
try:
    main(["ping", "nobody@127.0.0.1", "--carrier", "tcp", "--cookie", "loading"])
except SystemExit as ended:
    assert ended.code == 1  # nobody is there
"""


def loaded_by(program: str, tmp_path: Path) -> set[str]:
    """The modules that are loaded when ``program`` is over."""
    report = tmp_path / "modules.json"
    ending = (
        f"\nimport json, sys\nwith open({str(report)!r}, 'w') as file: json.dump(list(sys.modules), file)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program + ending], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(report.read_text()))


@pytest.mark.parametrize(
    ("program", "absent"),
    [
        ("import quicdist", HEAVY | {"asyncio", "quicdist.term", "quicdist.node"}),
        ("import quicdist.term", CODEC),
        (
            "from quicdist import term_to_binary\nterm_to_binary([1])",
            CODEC,
        ),
        ("from quicdist.term import term_to_binary", CODEC),
        ("import quicdist.protocol", HEAVY | {"asyncio", "quicdist.carrier"}),
        ("import quicdist.carrier", NETWORK | {"quicdist.discovery", "quicdist.carrier.quic.carrier"}),
        ("import quicdist.discovery", NETWORK | {"quicdist.config"}),
        ("import quicdist.config", NETWORK | {"quicdist.node"}),
        ("import quicdist.node", NETWORK | {"quicdist.otp"}),
        ("from quicdist import Node, read_config", NETWORK | {"quicdist.cli", "click", "rich"}),
        (
            TCP_NODES,
            NETWORK | BEHAVIOURS | {"quicdist.carrier.quic.carrier", "click", "rich"},
        ),
        (COMMAND.format(arguments=["--help"]), NETWORK | {"asyncio", "rich", "quicdist.term"}),
        (COMMAND.format(arguments=["ping", "--help"]), NETWORK | {"asyncio", "rich", "quicdist.term"}),
        (PING_OVER_TCP, NETWORK | SERVING | {"rich", "quicdist.carrier.quic.carrier"}),
    ],
    ids=[
        "quicdist",
        "term",
        "codec",
        "codec-of-term",
        "protocol",
        "carrier",
        "discovery",
        "config",
        "node",
        "Node",
        "nodes-over-tcp",
        "help",
        "ping-help",
        "ping-over-tcp",
    ],
)
def test_a_program_loads_only_what_it_uses(program: str, absent: set[str], tmp_path: Path) -> None:
    assert loaded_by(program, tmp_path) & absent == set()


def test_a_node_over_quic_loads_aioquic_and_no_dns(tmp_path: Path) -> None:
    loaded = loaded_by("from quicdist import Node\nNode('a@127.0.0.1', cookie='loading')", tmp_path)
    assert {"aioquic", "cryptography"} <= loaded
    assert "dns" not in loaded


def test_a_listening_node_over_quic_loads_nothing_that_verifies_a_certificate(tmp_path: Path) -> None:
    program = """
import asyncio
from quicdist import Node, make_development_certificates

async def main():
    files = make_development_certificates({directory!r})
    async with Node(
        "a@127.0.0.1", cookie="loading", host="127.0.0.1", port=0, cert=str(files.cert), key=str(files.key)
    ):
        pass

asyncio.run(main())
"""
    loaded = loaded_by(program.format(directory=str(tmp_path / "certificates")), tmp_path)
    assert loaded & {"service_identity", "certifi", "attr", "OpenSSL"} == set()


def test_deferred_modules_of_aioquic_are_the_installed_ones_when_they_are_used(tmp_path: Path) -> None:
    program = """
import sys
from quicdist.carrier.quic.engine.aioquic import factory
from aioquic import tls
assert not {"service_identity", "certifi"} & set(sys.modules)
where, error, store = tls.certifi.where(), tls.service_identity.VerificationError, tls.crypto.X509Store
import certifi, service_identity, OpenSSL.crypto
assert certifi.where() == where
assert service_identity.VerificationError is error
assert OpenSSL.crypto.X509Store is store
"""
    loaded_by(program, tmp_path)


def test_a_ping_over_quic_loads_no_services_and_no_other_carrier(tmp_path: Path) -> None:
    files = make_development_certificates(tmp_path / "certificates")
    name = f"pinged{os.getpid()}@127.0.0.1"
    cert, key = str(files.cert), str(files.key)
    with quicdist.sync.Node(name, cookie="loading", host="127.0.0.1", port=0, cert=cert, key=key) as node:
        where = f"{name}=127.0.0.1:{node.addresses[0].port}"
        arguments = ["ping", name, "--cookie", "loading", "--address", where, "--cacert", str(files.ca)]
        loaded = loaded_by(COMMAND.format(arguments=arguments), tmp_path)
    assert loaded & (SERVING | {"rich", "dns", "quicdist.carrier.tcp.carrier"}) == set()


@pytest.mark.parametrize(
    ("call", "is_default"),
    [
        ("from quicdist.__main__ import run; run()", False),
        ("from quicdist.cli import main; main()", True),
    ],
    ids=["program", "library"],
)
def test_only_the_program_sets_how_often_python_collects_garbage(
    call: str, is_default: bool, tmp_path: Path
) -> None:
    program = f"""
import gc, sys
sys.argv = ["quicdist", "--version"]
default = gc.get_threshold()
try:
    {call}
except SystemExit as ended:
    assert not ended.code
assert (gc.get_threshold() == default) is {is_default}
"""
    loaded_by(program, tmp_path)


def test_discovery_by_dns_loads_dnspython(tmp_path: Path) -> None:
    program = "from quicdist.discovery import DnsDiscovery\nDnsDiscovery('example.com')"
    assert "dns" in loaded_by(program, tmp_path)


# -- names that are imported when they are used ------------------------------------------------

LAZY = [
    quicdist,
    quicdist.carrier,
    quicdist.cluster,
    quicdist.config,
    quicdist.discovery,
    quicdist.node,
    quicdist.otp,
]


def lazy_table(package: ModuleType) -> dict[str, str]:
    """Name to module, as ``lazy_names`` is told in the source of ``package``."""
    tree = ast.parse(Path(str(package.__file__)).read_text())
    (table,) = [node for node in ast.walk(tree) if isinstance(node, ast.Dict)]
    sources: dict[str, str] = ast.literal_eval(table)
    return {name: module for module, names in sources.items() for name in names.split()}


def typed_imports(package: ModuleType) -> dict[str, str]:
    """Name to module, as type checkers see it."""
    tree = ast.parse(Path(str(package.__file__)).read_text())
    (block,) = [
        node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    return {
        alias.name: str(node.module)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


@pytest.mark.parametrize("package", LAZY, ids=lambda package: package.__name__)
class TestLazyNames:
    def test_type_checkers_see_the_same_names_from_the_same_modules(self, package: ModuleType) -> None:
        assert lazy_table(package) == typed_imports(package)

    def test_each_name_of_all_exists(self, package: ModuleType) -> None:
        assert [name for name in package.__all__ if not hasattr(package, name)] == []
        assert set(lazy_table(package)) <= set(package.__all__)

    def test_each_name_is_that_of_its_module(self, package: ModuleType) -> None:
        for name, module in lazy_table(package).items():
            assert getattr(package, name) is getattr(importlib.import_module(module), name)

    def test_dir_has_all_names_and_the_modules_own(self, package: ModuleType) -> None:
        assert {*package.__all__, "__doc__", "__name__", "__all__"} <= set(dir(package))
        assert dir(package) == sorted(set(dir(package)))

    def test_a_missing_name_raises_attribute_error(self, package: ModuleType) -> None:
        with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'nothing'"):
            _ = package.nothing


def test_a_star_import_has_all_names(tmp_path: Path) -> None:
    program = """
before = set(globals())
from quicdist import *
import quicdist
assert set(quicdist.__all__) <= set(globals()), set(quicdist.__all__) - set(globals())
assert issubclass(PeerUnreachable, QuicDistError)
"""
    assert "cryptography" in loaded_by(program, tmp_path)


def test_dir_loads_nothing(tmp_path: Path) -> None:
    loaded = loaded_by(
        "import quicdist\nassert 'Node' in dir(quicdist) and 'term' in dir(quicdist)", tmp_path
    )
    assert loaded & {"quicdist.term", "quicdist.node"} == set()


def test_packages_are_attributes_of_quicdist(tmp_path: Path) -> None:
    program = (
        "import quicdist\nassert quicdist.term.Atom is quicdist.Atom\nassert quicdist.errors.QuicDistError"
    )
    assert "quicdist.node" not in loaded_by(program, tmp_path)
