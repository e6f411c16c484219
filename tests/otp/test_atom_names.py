"""Atoms as names, everywhere a node, a module, a function or a registered process is named."""

from __future__ import annotations

import asyncio
import functools
import inspect
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from quicdist import (
    ANY,
    Atom,
    ChildSpec,
    ConnectOptions,
    GenServer,
    Global,
    LoggerHandler,
    Node,
    NodeNotFound,
    Process,
    Supervisor,
    Via,
    read_config,
)
from quicdist.carrier import Address
from quicdist.discovery import StaticDiscovery
from quicdist.node.quic_dist import QuicDist
from quicdist.otp.erpc import ErpcClient
from quicdist.otp.exports import Exports
from quicdist.otp.gen_server_client import GenServerClient
from quicdist.otp.net_kernel import NetKernel
from quicdist.otp.pg import ProcessGroups
from quicdist.otp.rpc import RpcClient

TWO = Atom("two@127.0.0.1")
ADDRESS = ("127.0.0.1", 4433)
DOWN = Atom("DOWN")


class Echo(GenServer):
    def handle_call(self, request: Any, sender: Any) -> Any:
        return request

    def handle_cast(self, request: Any) -> None:
        self.process.send(*request)


# -- every public function that takes a name -----------------------------------------------------

#: What carriers and connections call, with names that have passed through here.
_BELOW = {
    *("connection_alive", "name_said", "peer_proved", "old_connection_pending"),
    *("node_up", "node_down", "message_received", "find"),
}
#: They need a QUIC carrier; ``test_connect_options_by_atom`` has one.
_FOR_QUIC = {"get_connect_options", "clear_connect_options"}
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_NAMES = ("node", "nodes", "module", "function", "scope", "to", "cookie")
_CLASSES = (
    *(Node, Process, ErpcClient, RpcClient, GenServerClient, NetKernel, QuicDist, Exports, ProcessGroups),
    *(LoggerHandler, StaticDiscovery, Via),
)


def text_only() -> Iterator[str]:
    """Public functions with a parameter for a name that is annotated as text, and no more."""
    for cls in _CLASSES:
        for name, function in inspect.getmembers(cls, inspect.isfunction):
            if (name.startswith("_") and name != "__init__") or name in _BELOW:
                continue
            for parameter in inspect.signature(function).parameters.values():
                if parameter.name in _NAMES and re.search(r"\bstr\b", str(parameter.annotation)):
                    yield f"{cls.__name__}.{name}: {parameter}"


def test_no_public_function_takes_names_as_text_only() -> None:
    assert [one for one in text_only() if "Atom" not in one] == []


def public_functions(node: Node, process: Process) -> dict[str, Callable[..., Any]]:
    """Every public function of a node, a process and the services, by its name in a program."""
    owners = {
        "node.": node,
        "process.": process,
        **{
            f"node.{service}.": getattr(node, service)
            for service in (
                *("erpc", "rpc", "gen_server", "net_kernel", "quic_dist", "exports", "pg", "sys", "io"),
                *("global_names", "gen_statem", "gen_event", "task_supervisor"),
            )
        },
    }
    return {
        prefix + name: function
        for prefix, owner in owners.items()
        for name, function in inspect.getmembers(owner, inspect.ismethod)
        if not name.startswith("_") and name not in _BELOW | _FOR_QUIC
    }


def parameters(node: Node, process: Process, annotated: str) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """Every parameter of a public function whose annotation holds ``annotated``, with a function that
    calls it with one value for that parameter and valid ones for the others."""
    valid: dict[str, Any] = {
        "node": "x@127.0.0.1",
        "nodes": ["x@127.0.0.1"],
        "module": "m",
        "function": "f",
        "name": "n",
        "process": process,
        "options": ConnectOptions(),
        "cookie": "c",
        "message": 1,
        "request": 1,
        "wrapper": "w",
        "timeout": 0.1,
        "namespace": {},
        "server": Echo(),
        "kinds": "known",
        "lock_id": ("resource", "requester"),
        "resolver": "random_exit_name",
        "to": "n",
        "machine": "n",
        "manager": "n",
    }

    def call(function: Callable[..., Any], wanted: inspect.Parameter, value: Any) -> Any:
        positional, named = [], {}
        for parameter in inspect.signature(function).parameters.values():
            if parameter.name == wanted.name:
                given = [value] if "Iterable" in str(parameter.annotation) else value
            elif parameter.default is not parameter.empty or parameter.kind in _VARIADIC:
                continue
            elif parameter.name == "function" and "Name" not in str(parameter.annotation):
                given = print
            else:
                given = valid[parameter.name]
            if parameter.kind is parameter.KEYWORD_ONLY:
                named[parameter.name] = given
            else:
                positional.append(given)
        result = function(*positional, **named)
        return result(print) if inspect.isfunction(result) else result  # a decorator

    for label, function in public_functions(node, process).items():
        for wanted in inspect.signature(function).parameters.values():
            if re.search(rf"\b({annotated})\b", str(wanted.annotation)):
                yield f"{label}({wanted.name})", functools.partial(call, function, wanted)


async def test_what_is_no_name_is_a_type_error_in_every_parameter_that_takes_one(node: Node) -> None:
    process = node.spawn(lambda process, message: None)
    checked = []
    for what, call in parameters(node, process, "Name|N"):
        for wrong in (b"bytes", 7, process.pid):
            assert "is a str or an Atom, not " in await type_error(call, wrong), (what, wrong)
        checked.append(what)
    assert {"node.call(module)", "node.rpc.sbcast(name)", "node.exports.child(function)"} <= set(checked)


async def test_text_is_a_type_error_in_every_parameter_that_takes_arguments(node: Node) -> None:
    process = node.spawn(lambda process, message: None)
    checked = []
    for what, call in parameters(node, process, "Sequence"):
        if what.endswith("(arguments)"):
            for wrong in ("abc", b"abc", {"a": 1}, 7):
                told = await type_error(call, wrong)
                assert "arguments are a list, one for each parameter, not " in told, what
            checked.append(what)
    assert {"node.call(arguments)", "process.spawn_on(arguments)"} <= set(checked)


# -- nodes ---------------------------------------------------------------------------------------


def node_functions() -> dict[str, Callable[[Any], Any]]:
    """What else is given one node: classes, and options."""
    return {
        "LoggerHandler": lambda to: LoggerHandler(Node("x@127.0.0.1", cookie="x", endpoints=[]), to),
        "Via": lambda to: Via("m", "n", to),
        "Node": lambda to: Node(to, cookie="x", endpoints=[]),
        "StaticDiscovery": lambda to: StaticDiscovery({to: ADDRESS}),
        "StaticDiscovery.lookup": StaticDiscovery().lookup,
        "Node(nodes=)": lambda to: Node("x@127.0.0.1", cookie="x", nodes={to: ADDRESS}, carrier="tcp"),
    }


def list_functions(node: Node) -> dict[str, Callable[[Any], Any]]:
    """Every function that is given several nodes."""
    return {
        "erpc.multicall": lambda to: node.erpc.multicall(to, "m", "f"),
        "erpc.multicast": lambda to: node.erpc.multicast(to, "m", "f"),
        "rpc.multicall": lambda to: node.rpc.multicall(to, "m", "f"),
        "rpc.abcast": lambda to: node.rpc.abcast(to, "n", 1),
        "rpc.sbcast": lambda to: node.rpc.sbcast(to, "n", 1),
        "rpc.multi_server_call": lambda to: node.rpc.multi_server_call(to, "n", 1),
        "gen_server.multi_call": lambda to: node.gen_server.multi_call(to, "n", 1),
        "gen_server.abcast": lambda to: node.gen_server.abcast(to, "n", 1),
        "net_kernel.allow": node.net_kernel.allow,
    }


async def type_error(function: Callable[[Any], Any], given: Any) -> str:
    """The text of the TypeError that a function or coroutine function raises for ``given``."""
    try:
        value = function(given)
        if isinstance(value, Awaitable):
            await value
    except TypeError as error:
        return str(error)
    return "none was raised"


async def test_what_is_no_node_name_is_a_type_error_in_classes_and_options() -> None:
    for what, function in node_functions().items():
        for wrong in (b"two@127.0.0.1", 7, ("a", "b")):
            assert "a node name is a str or an Atom, not " in await type_error(function, wrong), what


async def test_one_node_in_place_of_several_is_a_type_error_everywhere(node: Node) -> None:
    for what, function in list_functions(node).items():
        for wrong in ("two@127.0.0.1", TWO):
            assert "expected a list of node names" in await type_error(function, wrong), what
    assert node.net_kernel.allowed() == []


async def test_a_node_named_by_an_atom_is_the_node_of_that_name(one: Node, two: Node) -> None:
    two.spawn(lambda process, message: process.send(message[0], (Atom("echo"), TWO, message[1])), name="echo")
    two.export("m", "f")(lambda *given: list(given))
    await two.gen_server.start(Echo(), name=Atom("server"))
    process = one.spawn(lambda process, message: None)

    assert await one.ping(TWO)
    await one.connect(TWO)
    await one.is_auth(TWO)
    assert one.net_kernel.node_info(TWO).node == TWO.name
    assert await one.call(TWO, Atom("m"), Atom("f"), [1]) == [1]
    one.cast(TWO, Atom("m"), Atom("f"), [1])
    await one.drain(TWO)
    assert await one.erpc.send_request(TWO, Atom("m"), Atom("f"), [1]) == [1]
    assert await one.erpc.multicall([TWO], "m", "f", [1]) == [[1]]
    assert await one.rpc.multicall([TWO, Atom("x@127.0.0.1")], "m", "f") == ([[]], [Atom("x@127.0.0.1")])
    assert await one.rpc.block_call(TWO, Atom("m"), Atom("f"), [1]) == [1]
    assert await one.rpc.server_call(TWO, Atom("echo"), Atom("echo"), 1) == 1
    assert await one.rpc.multi_server_call([TWO], "echo", 1) == ([1], [])
    assert await one.rpc.sbcast([TWO], Atom("echo"), (process.pid, 1)) == ([TWO], [])
    assert await one.gen_server.multi_call([TWO], Atom("server"), 1) == ([(TWO, 1)], [])
    assert await one.gen_server_call((Atom("server"), TWO), 1) == 1
    one.net_kernel.allow([TWO])
    assert one.net_kernel.allowed() == [TWO.name]
    one.set_cookie(TWO, Atom("another"))
    assert one.net_kernel.get_cookie(TWO) == one._local.cookie_for(TWO.name) == "another"
    assert one.disconnect(TWO)
    assert not one.net_kernel.disconnect(TWO)
    assert one.nodes("connected") == []


async def test_broadcasts_and_spawns_to_a_node_named_by_an_atom(one: Node, two: Node) -> None:
    came: asyncio.Queue[Any] = asyncio.Queue()
    two.spawn(lambda process, message: came.put_nowait(message), name="sink")
    two.export("m", "f")(came.put_nowait)
    await two.gen_server.start(Echo(), name="server")

    @two.exports.process(Atom("m"), Atom("body"))
    def body(process: Process, value: Any) -> None:
        came.put_nowait(value)

    async def spawns(process: Process) -> None:
        await process.spawn_on(TWO, Atom("m"), Atom("body"), [1])
        _, reference = await process.spawn_monitor_on(TWO, Atom("m"), Atom("body"), [2])
        await process.receive((DOWN, reference, ANY, ANY, ANY))
        process.spawn_request(TWO, Atom("m"), Atom("body"), [3], reply="no")
        await process.send_wait((Atom("sink"), TWO), 4)

    one.spawn(spawns)
    one.erpc.multicast([TWO], Atom("m"), Atom("f"), [5])
    one.rpc.abcast([TWO], Atom("sink"), 6)
    one.gen_server.abcast([TWO], Atom("server"), ((Atom("sink"), TWO), 7))
    assert sorted([await came.get() for _ in range(7)]) == [1, 2, 3, 4, 5, 6, 7]


async def test_static_tables_take_atoms(tmp_path: Any) -> None:
    discovery = StaticDiscovery({TWO: ADDRESS})
    assert await discovery.lookup(TWO) == await discovery.lookup(TWO.name) == Address(*ADDRESS)
    discovery.add(TWO, ("127.0.0.1", 4434))
    assert (await discovery.lookup_all(TWO))[0].port == 4434
    discovery.remove(TWO)
    with pytest.raises(NodeNotFound, match="two@127"):
        await discovery.lookup(TWO)
    # The program's table goes before the files', whichever way it names a node.
    config = tmp_path / "sys.config"
    config.write_text("[{quic, [{dist, [{nodes, [{'two@127.0.0.1', {\"10.0.0.1\", 1}}]}]}]}].")
    node = Node("x@127.0.0.1", cookie="x", nodes={TWO: ADDRESS}, config=config, verify=False, listen=False)
    assert await node.endpoints[0].discovery.lookup(TWO) == Address(*ADDRESS)


async def test_connect_options_by_atom() -> None:
    node = Node("x@127.0.0.1", cookie="x", verify=False, listen=False)
    options = ConnectOptions(idle_timeout=5)
    node.quic_dist.set_connect_options(TWO, options)
    assert node.quic_dist.get_connect_options(TWO.name) == node.quic_dist.get_connect_options(TWO) == options
    node.quic_dist.clear_connect_options(TWO)
    assert node.quic_dist.get_connect_options(TWO.name) == ConnectOptions()


# -- names of processes, modules and functions ---------------------------------------------------


async def test_processes_are_registered_under_atoms(node: Node) -> None:
    name = Atom("someone")
    node.process(name)(lambda process, message: None)
    assert node.whereis(name) is node.whereis("someone") is not None
    node._local.runtime.unregister(name)
    body = node.spawn(lambda process, message: None, name=name)
    assert node.whereis("someone") is body
    child = body.spawn(lambda process, message: None, name=Atom("child"))
    assert node.whereis("child") is child
    assert (await node.gen_server.start(Echo(), name=Atom("echo"))) is node.whereis("echo")
    assert node.serve(Echo(), name=Atom("served")) is node.whereis("served")
    await node.gen_server.start(Supervisor([ChildSpec("c", Echo, name=Atom("supervised"))]))
    assert node.whereis("supervised") is not None
    scope = node.pg.start(Atom("scope"))
    assert node.whereis("scope") is scope.process


@pytest.mark.parametrize("wrong", [b"name", 7, ("a", "b")])
async def test_what_is_no_registered_name_is_a_type_error_everywhere(node: Node, wrong: Any) -> None:
    processes = len(node._local.runtime.processes())
    for function in (
        node.whereis,
        node._local.runtime.unregister,
        lambda name: node.spawn(lambda process, message: None, name=name),
        lambda name: node.serve(Echo(), name=name),
        lambda name: node.process(name)(lambda process, message: None),
        lambda name: ChildSpec("c", Echo, name=name),
        lambda name: node.exports.child("m", "f", name=name)(Echo),
        lambda name: node.rpc.abcast(["x@127.0.0.1"], name, 1),
        lambda name: node.gen_server.abcast(["x@127.0.0.1"], name, 1),
    ):
        with pytest.raises(TypeError, match="a registered name"):
            function(wrong)
    assert len(node._local.runtime.processes()) == processes


async def test_what_is_no_destination_is_a_type_error(node: Node) -> None:
    for wrong in (7, b"name", ("name", b"node"), ("name", "node", "more")):
        for function in (lambda to: node.send(to, 1), node.spawn(lambda p, m: None).monitor):
            with pytest.raises(TypeError, match=r"expected a pid, a process, a name or \(name, node\), got "):
                function(wrong)


async def test_exports_and_modules_are_named_by_atoms(node: Node) -> None:
    node.export(Atom("m"), Atom("f"))(lambda: 1)
    node.exports.add_namespace(Atom("n"), {Atom("g"): lambda: 2})
    assert node.exports.find("m", "f", 0) is not None
    assert node.exports.find("n", "g", 0) is not None
    node.exports.child(Atom("m"), Atom("start"))(Echo)
    assert node.exports.find("m", "start", 0) is not None
    assert Via(Atom("Elixir.Registry"), 1, TWO) == Via("Elixir.Registry", 1, TWO.name)
    assert Global("x") == Global("x")
    with pytest.raises(TypeError, match="a module is"):
        node.export(b"m", "f")(lambda: 1)  # type: ignore[arg-type]
    assert read_config(modules={Atom("my_discovery"): StaticDiscovery()}).modules.keys() == {"my_discovery"}


async def test_the_node_and_its_cookie_may_be_atoms() -> None:
    node = Node(Atom("x@127.0.0.1"), cookie=Atom("secret"), endpoints=[])
    assert node.name == "x@127.0.0.1"
    assert node._local.cookie_for("y@127.0.0.1") == "secret"


# -- lists of arguments --------------------------------------------------------------------------


async def test_text_in_place_of_the_arguments_of_a_child_is_a_type_error() -> None:
    template = ChildSpec("c", Echo)
    supervisor = Supervisor([template], strategy="simple_one_for_one")
    functions: list[Callable[[Any], Any]] = [lambda args: ChildSpec("c", Echo, args), supervisor.start_child]
    for function in functions:
        for wrong in ("abc", b"abc", {"a": 1}, 7):
            told = await type_error(function, wrong)
            assert "arguments are a list, one for each parameter, not " in told


async def test_one_use_arguments_reach_every_node(one: Node, two: Node) -> None:
    two.export("m", "f")(lambda *given: list(given))
    one.export("m", "f")(lambda *given: list(given))
    assert await one.erpc.multicall([TWO, one.name], "m", "f", iter([1, 2])) == [[1, 2], [1, 2]]  # type: ignore[arg-type]
