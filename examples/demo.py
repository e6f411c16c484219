"""A demonstration of quicdist, step by step: ``make demo``, or ``python examples/demo.py``.

Two Python nodes in two processes over QUIC; with an ``erl``, a stock BEAM that joins the same Python node
over TCP; with an ``erl`` that finds erlang_quic, a BEAM over QUIC. The exit status is 0 only if every step
succeeded. No process or file remains, and several demos can run at the same time.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import logging
import os
import platform
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run by its path
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from examples.demo_children import (
    Beam,
    Child,
    Erlang,
    beam_command,
    child,
    erlang_facts,
    find_erl,
    free_port,
    private_epmd,
    python,
)
from examples.demo_report import DemoAborted, Report, StepFailed
from quicdist import (
    ANY,
    Atom,
    Node,
    NotConnected,
    Process,
    RemoteError,
    __version__,
    format_term,
    make_development_certificates,
)
from quicdist.carrier import CertificateFiles, CertificateRefused
from quicdist.cli import stack_lines
from quicdist.protocol import WrongCookie

COOKIE = "demo"
MEBIBYTE = 1 << 20
DOWN = Atom("DOWN")
NO_ERL = (
    "the part with a BEAM is skipped: no erl found. `make demo` installs Debian's erlang-base if it may; or "
    "install it yourself, or name an erl in QUICDIST_ERL"
)
NO_QUIC_DIST = (
    "the part with quic_dist is skipped: this erl does not find the application quic. Name OTP 26 or later "
    "in QUICDIST_ERL, and the directory that contains erlang_quic's quic/ebin in ERL_LIBS"
)

# Erlang expressions of more than one call.
_NOT_EXPORTED = "{badrpc, {'EXIT', {Why, _}}} = rpc:call(Py, os, cmd, [\"id\"]), Why"
_GEN_SERVER_CALL = "{hello, Pid} = gen_server:call({echo, Py}, {hello, self()}), {hello, Pid =:= self()}"
_ROUND_TRIP = f"""
Bin = rand:bytes({MEBIBYTE}), {{echo, Py}} ! {{self(), Bin}},
receive Back when is_binary(Back) -> Back =:= Bin after 20000 -> timeout end
"""
_MONITOR = """
Pid = rpc:call(Py, py, mortal, []), Ref = monitor(process, Pid), Pid ! {shutdown, done},
receive {'DOWN', Ref, process, Pid, Why} -> Why after 20000 -> timeout end
"""


class Demo:
    """One run. Node names contain the process id, so that concurrent runs do not interfere."""

    def __init__(self, report: Report, directory: Path, stack: contextlib.AsyncExitStack) -> None:
        self.report = report
        self.directory = directory
        self.stack = stack
        self.echo = self.name("py")
        self.port = 0
        self.children: list[Child] = []
        self.certs: CertificateFiles

    def name(self, alive: str) -> str:
        return f"{alive}_{os.getpid()}@127.0.0.1"

    def node(self, alive: str, **options: Any) -> Node:
        """A node in this process with the address of the echo node."""
        settings: dict[str, Any] = {
            "cookie": COOKIE,
            "nodes": {self.echo: ("127.0.0.1", self.port)},
            "cacert": self.certs.ca,
            "listen": False,
        }
        return Node(self.name(alive), **settings | options)

    async def start(self, what: str, command: list[str]) -> Child:
        program = await self.stack.enter_async_context(child(what, command))
        self.children.append(program)
        return program

    async def run(self) -> None:
        self.report.title("Python and Python, over QUIC", "two processes, TLS 1.3, certificates verified")
        erlang = await self.erlang()
        await self.make_certificates()
        await self.start_echo_node(("quic", "tcp") if erlang else ("quic",))
        async with self.node("other") as node:
            await self.python_and_python(node)
            await self.refusals()
            await self.end_of_a_node(node)
            self.report.title(
                "Python and a stock BEAM, over TCP",
                f"OTP {erlang.release}, the same Python node" if erlang else "",
            )
            if erlang is None:
                if not self.report.failed:
                    self.report.skipped(NO_ERL)
                return
            await self.stock_beam(node, erlang)
            self.report.title("Python and a BEAM with quic_dist, over QUIC", "the same Python node")
            if erlang.has_quic_dist:
                await self.quic_dist(node, erlang)
            else:
                self.report.skipped(NO_QUIC_DIST)

    async def erlang(self) -> Erlang | None:
        """Erlang on this machine, with an epmd; None if there is none, or it does not work."""
        erl = find_erl()
        if erl is None:
            return None
        async with self.report.line(f"find the version of {erl}", quiet=True):
            erlang = await erlang_facts(erl)
            await self.stack.enter_async_context(private_epmd(erlang))
            return erlang
        return None

    # -- Python and Python -----------------------------------------------------------------

    async def make_certificates(self) -> None:
        async with self.report.line("make certificates", essential=True) as line:
            self.certs = await asyncio.to_thread(make_development_certificates, self.directory / "certs")
            line.came = "CA, certificate, key"

    def echo_node(self, module: str, name: str, carriers: tuple[str, ...], *more: str) -> list[str]:
        certs = self.certs
        files = ("--cert", str(certs.cert), "--key", str(certs.key), "--cacert", str(certs.ca))
        carrier = [argument for carrier in carriers for argument in ("--carrier", carrier)]
        return python(module, "--name", name, "--cookie", COOKIE, *carrier, *files, *more)

    async def start_echo_node(self, carriers: tuple[str, ...]) -> None:
        async with self.report.line("start an echo node in another process", essential=True) as line:
            program = await self.start("the echo node", self.echo_node("demo_node", self.echo, carriers))
            places = [await program.read_line() for _ in carriers]
            self.port = int(places[0].rpartition(":")[2])
            line.came = ", ".join(place.removeprefix(f"{self.echo} listens on ") for place in places)

    async def python_and_python(self, node: Node) -> None:
        echo, line = self.echo, self.report.line
        async with line("connect a second node, which verifies it") as it:
            await node.connect(echo)
            it.expect(node.nodes("connected"), [echo])
            it.came = f"nodes(connected) is [{echo}]"
        async with line("ping the echo node") as it:
            began = time.perf_counter()
            it.expect(await node.ping(echo), True)
            it.came = f"pong, {(time.perf_counter() - began) * 1000:.1f} ms"
        async with line("ping from the echo node") as it:
            it.expect(await node.call(echo, "py", "ping", [Atom(node.name)]), True)
        async with line("rpc to the echo node: py:add(1, 2)") as it:
            it.expect(await node.call(echo, "py", "add", [1, 2]), 3)
        async with line("rpc from it: here:double(<<1,2>>)") as it:
            node.exports.add("here", "double", lambda value: value * 2)
            arguments = [Atom(node.name), Atom("here"), Atom("double"), [b"\1\2"]]
            it.expect(format_term(await node.call(echo, "py", "call", arguments)), "<<1,2,1,2>>")
        async with line("{echo, N} ! {self(), Term}") as it:
            term = {Atom("pi"): 3.14, b"list": [1, [], (Atom("ok"), None)]}
            it.expect(format_term(await echoed(node, echo, term)), format_term(term))
        async with line("gen_server:call({echo, N}, {hello, world})") as it:
            answer = await node.gen_server_call(("echo", echo), (Atom("hello"), Atom("world")))
            it.expect(format_term(answer), "{hello,world}")
        async with line("{echo, N} ! {self(), Binary}, 1 MiB") as it:
            data = os.urandom(MEBIBYTE)
            began = time.perf_counter()
            if await echoed(node, echo, data) != data:
                raise StepFailed("other bytes came back")
            it.came = f"the same bytes, {(time.perf_counter() - began) * 1000:.0f} ms"
        async with line("monitor a process there, which ends") as it:
            pid = await node.call(echo, "py", "mortal")
            down = await watched(node, pid, then_send=(Atom("shutdown"), Atom("done")))
            it.expect(format_term(down[4]), "{shutdown,done}")
            it.came = f"'DOWN', {it.came}"
        async with line("monitored from there: a process ends") as it:
            it.expect(
                str(await node.call(echo, "py", "watch", [node.spawn(ends_when_watched).pid])), "normal"
            )
            it.came = f"'DOWN', {it.came} (received there)"

    async def refusals(self) -> None:
        async with self.report.line("refuse a node with a wrong cookie") as line:
            line.came = await self.refused(WrongCookie, cookie="another")
        async with self.report.line("refuse a certificate of another CA") as line:
            other = await asyncio.to_thread(make_development_certificates, self.directory / "other")
            line.came = await self.refused(CertificateRefused, cacert=other.ca)

    async def refused(self, kind: type[Exception], **options: Any) -> str:
        async with self.node("stranger", **options) as stranger:
            try:
                await stranger.connect(self.echo)
            except NotConnected as error:
                if isinstance(error.attempts[0], kind):
                    return str(error.attempts[0])
                raise
        raise StepFailed("the connection was accepted")

    async def end_of_a_node(self, node: Node) -> None:
        name = self.name("guest")
        async with self.report.line("monitor echo_node.py, which is stopped") as line:
            command = self.echo_node("echo_node", name, ("quic",), "--host", "127.0.0.1", "--port", "0")
            program = await self.start("examples/echo_node.py", command)
            port = int((await program.read_line()).rpartition(":")[2])
            async with self.node("watcher", nodes={name: ("127.0.0.1", port)}) as watcher:
                await watcher.connect(name)
                watching = asyncio.Event()
                down = asyncio.create_task(watched(watcher, (Atom("echo"), Atom(name)), watching=watching))
                await watching.wait()
                await program.end()
                line.expect(str((await down)[4]), "shutdown")  # the reason of a stopped server
                line.came = f"'DOWN', {line.came}"

    # -- BEAMs -----------------------------------------------------------------------------

    async def stock_beam(self, node: Node, erlang: Erlang) -> None:
        name = self.name("beam")
        async with self.report.line(f"erl -name {name}") as line:
            erl = await self.beam(erlang, name)
            line.came = f"starts: OTP {erlang.release}"
        if line.succeeded:
            await self.python_and_beam(node, erl, name)

    async def quic_dist(self, node: Node, erlang: Erlang) -> None:
        name = self.name("qbeam")
        async with self.report.line(f"erl -name {name} -proto_dist quic ...") as line:
            erl = await self.beam(erlang, name, *self.quic_dist_arguments(name))
            # quic_dist knows no addresses before the application is started.
            line.expect(await erl.eval("element(1, application:ensure_all_started(quic))"), "ok")
            version = await erl.eval("element(2, application:get_key(quic, vsn))")
            line.came = f"starts: OTP {erlang.release}, erlang_quic {version.strip(chr(34))}"
        if line.succeeded:
            await self.python_and_beam(node, erl, name)

    async def beam(self, erlang: Erlang, name: str, *arguments: str) -> Beam:
        erl = Beam(await self.start(name, beam_command(erlang, name, COOKIE, *arguments)))
        if (own := await erl.eval("node()")) != f"'{name}'":
            raise StepFailed(f"the node's name is {own}")
        return erl

    async def python_and_beam(self, node: Node, erl: Beam, name: str) -> None:
        """``Py`` is the echo node. It calls the BEAM when ``node`` requests it."""
        line = self.report.line

        async def shows(what: str, expression: str, expected: str, came: str = "") -> None:
            async with line(what) as it:
                it.expect(await erl.eval(f"Py = '{self.echo}', {expression}"), expected)
                it.came = came or it.came

        await shows("the BEAM pings: net_adm:ping(Py)", "net_adm:ping(Py)", "pong")
        await shows("rpc:call(Py, py, add, [1, 2])", "rpc:call(Py, py, add, [1, 2])", "3")
        await shows(
            'rpc:call(Py, os, cmd, ["id"])',
            _NOT_EXPORTED,
            "undef",
            "undef: not exported",
        )
        await shows(
            "gen_server:call({echo, Py}, {hello, self()})",
            _GEN_SERVER_CALL,
            "{hello,true}",
            "{hello, its pid}",
        )
        await shows("{echo, Py} ! {self(), Binary}, 1 MiB", _ROUND_TRIP, "true", "came back, =:=")
        await shows(
            "monitor(process, Pid), which ends", _MONITOR, "{shutdown,done}", "'DOWN', {shutdown,done}"
        )
        remote = [Atom(name), Atom("lists"), Atom("reverse")]
        async with line("Python calls lists:reverse([1, 2, 3]) there") as it:
            value = await node.call(self.echo, "py", "call", [*remote, [[1, 2, 3]]])
            it.expect(format_term(value), "[3,2,1]")
        async with line("Python calls lists:reverse(foo) there") as it:
            try:
                value = await node.call(self.echo, "py", "call", [*remote, [Atom("foo")]])
            except RemoteError as error:
                it.expect((error.kind, str(error.reason)), ("error", "function_clause"))
                it.came = f"error: function_clause, {stack_lines(error.stack)[0]}"
            else:
                raise StepFailed(f"it returned {format_term(value)}")

    def quic_dist_arguments(self, name: str) -> tuple[str, ...]:
        certs, config = self.certs, self.directory / "sys.config"
        config.write_text(
            f'[{{quic, [{{dist, [{{cert_file, "{certs.cert}"}}, {{key_file, "{certs.key}"}},\n'
            "  {verify, verify_none}, {discovery_module, quic_discovery_static},\n"
            f"  {{nodes, [{{'{self.echo}', {{\"127.0.0.1\", {self.port}}}}}]}}]}}]}}].\n"
        )
        return (
            *("-proto_dist", "quic", "-epmd_module", "quic_epmd", "-start_epmd", "false"),
            *("-quic_dist_port", str(free_port(socket.SOCK_DGRAM)), "-config", str(config.with_suffix(""))),
            *("-quic_dist_cert", str(certs.cert), "-quic_dist_key", str(certs.key)),
        )

    def show_logs(self) -> None:
        for program in self.children:
            if logged := program.logged(20):
                self.report.logs(program.what, logged)


# -- pieces ------------------------------------------------------------------------------------


async def echoed(node: Node, echo: str, term: Any) -> Any:
    """Send ``{Self, Term}`` to the process ``echo`` of another node; return the answer."""

    async def body(process: Process) -> None:
        process.send(("echo", echo), (process.pid, term))
        came.set_result(await process.receive())

    came: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    node.spawn(body)
    return await came


async def watched(
    node: Node, target: Any, *, then_send: Any = None, watching: asyncio.Event | None = None
) -> Any:
    """Monitor a process, send it ``then_send`` if given, and return its ``'DOWN'`` message. ``watching`` is
    set when the monitor is active: the process, a server, has answered a later call."""

    async def body(process: Process) -> None:
        reference = process.monitor(target)
        if then_send is not None:
            process.send(target, then_send)
        if watching is not None:
            await node.gen_server.call(target, 1, process=process)
            watching.set()
        came.set_result(await process.receive((DOWN, reference, ANY, ANY, ANY)))

    came: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    node.spawn(body)
    return await came


async def ends_when_watched(process: Process) -> None:
    await process.receive(Atom("watched"))


async def main() -> int:
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)  # type: ignore[union-attr]
    began = time.monotonic()
    report = Report()
    report.console.print(
        f"[bold]quicdist {__version__}[/bold], Python {platform.python_version()}, "
        f"aioquic {importlib.metadata.version('aioquic')}"
    )
    with tempfile.TemporaryDirectory(prefix="quicdist-demo-") as directory:
        async with contextlib.AsyncExitStack() as stack:
            demo = Demo(report, Path(directory), stack)
            with contextlib.suppress(DemoAborted):
                await demo.run()
            if report.failed:
                demo.show_logs()
    return report.close(began)


if __name__ == "__main__":
    logging.getLogger("quic").setLevel(logging.CRITICAL)
    # The refusals that the demo causes are steps, not warnings.
    logging.getLogger("quicdist.node.connections").setLevel(logging.ERROR)
    try:
        sys.exit(asyncio.run(main()))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)
