"""Gateways as programs, and pairs of stock BEAMs: over two gateways, and over TCP without them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from quicdist.carrier.security.certificates import CertificateFiles
from tests.gateway.udp_proxy import Cable
from tests.support.beam import Beam, tcp_args
from tests.support.epmd import free_port, listens
from tests.support.ports import any_port

#: Two nodes, on two hosts that are this machine: no file of names is needed.
A, B = "a@127.10.0.1", "b@127.10.0.2"

T = TypeVar("T")


def at_once(*functions: Callable[[], T]) -> list[T]:
    """Call functions that wait for programs, at once."""
    with ThreadPoolExecutor(len(functions)) as threads:
        return [future.result() for future in [threads.submit(function) for function in functions]]


#: Prints a page.
_FETCH = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=10).read().decode())"


class GatewayProgram:
    """``quicdist gateway``, which is ready once it is made. ``prefix`` are words before the command, such as
    ``ip netns exec``."""

    def __init__(
        self,
        name: str,
        *options: str,
        port: int | None = None,
        listen_host: str = "127.0.0.1",
        prefix: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.prefix = prefix
        self._listen_host = listen_host
        self.port = any_port() if port is None else port
        #: Those that it has chosen, once it is started.
        self.epmd_port = self.metrics_port = 0
        self._options = options
        self._folder = tempfile.TemporaryDirectory(prefix="gateway-")
        path = Path(self._folder.name)
        self.inetrc = path / "inetrc"
        self._log = path / "log"
        self.start()

    def start(self) -> None:
        """Start it, again if it has ended; wait until it is ready."""
        path = Path(self._folder.name)
        (path / "ready").unlink(missing_ok=True)
        command = [
            *(*self.prefix, sys.executable, "-m", "quicdist", "gateway", self.name),
            *(
                "--listen-host",
                self._listen_host,
                "--port",
                str(self.port),
                "--epmd-port",
                str(self.epmd_port),
            ),
            *("--metrics-port", str(self.metrics_port), "--inetrc", str(self.inetrc), *self._options),
        ]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, self._log.open("ab") as log:
            ready.bind(str(path / "ready"))
            ready.settimeout(30)
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "NOTIFY_SOCKET": str(path / "ready")},
            )
            ended = threading.Thread(target=self._report_end, args=(path / "ready",), daemon=True)
            ended.start()
            state = ready.recv(100)
        if state != b"READY=1":
            log_text = self.logged()
            self.close()
            raise AssertionError(log_text)
        found = re.findall(r"epmd port (\d+), metrics http://127.0.0.1:(\d+)/", self.logged())
        self.epmd_port, self.metrics_port = map(int, found[-1])

    def _report_end(self, address: Path) -> None:
        """A gateway that ends before it is ready is not waited for."""
        self.process.wait()
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"ended", str(address))

    @property
    def environment(self) -> dict[str, str]:
        """The environment of its BEAM."""
        return {"ERL_EPMD_PORT": str(self.epmd_port), "ERL_INETRC": str(self.inetrc)}

    def beam(self, *more: str, cookie: str = "secret") -> Beam:
        return stock_beam(self.name, self.environment, more, cookie=cookie)

    def logged(self) -> str:
        return self._log.read_text(errors="replace")

    def metrics(self) -> dict[str, float]:
        """The values of the metrics page."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        command = [*self.prefix, sys.executable, "-c", _FETCH, url]
        if self.prefix:
            text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
        else:
            with urllib.request.urlopen(url, timeout=10) as answer:
                text = answer.read().decode()
        lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines if name}

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def terminate(self, timeout: float = 30.0) -> int:
        """SIGTERM; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._folder.cleanup()

    def __enter__(self) -> GatewayProgram:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def gateway_to(
    table: Mapping[str, tuple[str, int]], name: str, options: Sequence[str] = ()
) -> GatewayProgram:
    """The gateway of ``name`` that has the addresses of all in ``table``, its own port among them."""
    others = [f"{node}={host}:{port}" for node, (host, port) in table.items() if node != name]
    addresses = [word for other in others for word in ("--address", other)]
    return GatewayProgram(name, *options, *addresses, port=table[name][1])


_ENVIRONMENT = threading.Lock()


def stock_beam(
    name: str, environment: Mapping[str, str], more: Sequence[str] = (), *, cookie: str = "secret"
) -> Beam:
    """A BEAM over TCP with some variables of its environment set."""
    # Popen copies the environment at once; Beam waits longer.
    arguments = ["-start_epmd", "false", *more]
    with _ENVIRONMENT:
        before = {key: os.environ.get(key) for key in environment}
        os.environ.update(environment)
        try:
            return Beam(tcp_args(name, cookie, more=arguments))
        finally:
            for key, value in before.items():
                if value is None:
                    os.environ.pop(key, None)
                else:
                    os.environ[key] = value


@dataclass
class Pair:
    """Two BEAMs that can reach each other."""

    a: Beam
    b: Beam
    gateways: tuple[GatewayProgram, ...] = ()
    cable: Cable | None = None

    def logged(self) -> str:
        return "\n".join(f"{each.name}:\n{each.logged()}" for each in self.gateways)


def gateway_options(files: CertificateFiles) -> list[str]:
    return ["--cert", str(files.cert), "--key", str(files.key), "--cacert", str(files.ca)]


@contextlib.contextmanager
def gateway_pair(
    files: CertificateFiles, *options: str, more: Sequence[str] = (), cable: bool = False
) -> Iterator[Pair]:
    """A and B, each with a gateway; ``more`` are arguments of the BEAMs. ``cable``: A dials B over one."""
    ports = any_port(), any_port()
    common = [*gateway_options(files), *options]
    with contextlib.ExitStack() as stack:
        wire = stack.enter_context(Cable(ports[1])) if cable else None
        to_b = ports[1] if wire is None else wire.port
        gateways = at_once(
            lambda: GatewayProgram(A, *common, "--address", f"{B}=127.0.0.1:{to_b}", port=ports[0]),
            lambda: GatewayProgram(B, *common, "--address", f"{A}=127.0.0.1:{ports[0]}", port=ports[1]),
        )
        for gateway in gateways:
            stack.enter_context(gateway)
        a, b = (stack.enter_context(gateway.beam(*more)) for gateway in gateways)
        yield Pair(a, b, (gateways[0], gateways[1]), wire)


@contextlib.contextmanager
def tcp_pair() -> Iterator[Pair]:
    """A and B, connected as always."""
    command, port = shutil.which("epmd"), free_port()
    assert command is not None
    epmd = subprocess.Popen([command, "-port", str(port)], stdin=subprocess.DEVNULL)
    try:
        while not listens(port):
            assert epmd.poll() is None
        environment = {"ERL_EPMD_PORT": str(port)}
        with stock_beam(A, environment) as a, stock_beam(B, environment) as b:
            yield Pair(a, b)
    finally:
        epmd.kill()
        epmd.wait()
