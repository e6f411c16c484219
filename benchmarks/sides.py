"""The processes of both sides of a row, started and connected."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.ends import (
    COOKIE,
    BeamEnd,
    Driver,
    EndError,
    PortEnd,
    PythonEnd,
    beam_over_quic,
    beam_over_tcp,
    quic_erl,
    tcp_erl,
)
from quicdist import make_development_certificates
from tests.support.epmd import private_epmd

NO_PYRLANG = "Pyrlang is not on a package index; name its sources and those of Term in PYRLANG_PATH"

NO_AIOPQUIC = "this Python has no aiopquic (it needs 3.12); name one that has it in AIOPQUIC_PYTHON"

#: Bytes of a datagram that nearly every path takes.
SHORT = 1452

#: Operations whose result is the time of one message; that of the others is the time of all.
OF_ONE = ("echo", "bytes", "receive", "bulk_out", "bulk_in")

_numbers = itertools.count(1)


class NotHere(Exception):
    """A row cannot be measured on this machine; the text is the reason."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One operation of a driver against a node."""

    driver: Driver
    node: str

    def __call__(self, operation: str, size: int, count: int) -> float:
        """Seconds of one message."""
        taken: float = getattr(self.driver, operation)(self.node, count, size)
        return taken if operation in OF_ONE else taken / count


#: Ours, and the peer.
Sides = tuple[Measurement, Measurement]


# -- processes ----------------------------------------------------------------------------------


class Machine:
    """Certificates and names for what one run starts."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        files = make_development_certificates(directory / "certs")
        self.tls = {"cert": str(files.cert), "key": str(files.key), "cacert": str(files.ca)}

    def name(self, what: str) -> str:
        return f"{what}{os.getpid()}_{next(_numbers)}@127.0.0.1"

    def node_options(self, name: str, carrier: str, **more: Any) -> dict[str, Any]:
        options = {"name": name, "cookie": COOKIE, "carrier": carrier, "host": "127.0.0.1", "port": 0, **more}
        return {**options, **self.tls} if carrier == "quic" else options

    @contextmanager
    def two_nodes(
        self,
        *,
        under: Sequence[str] = (),
        driver_under: Sequence[str] = (),
        max_datagram_size: int | None = None,
    ) -> Iterator[tuple[PythonEnd, PythonEnd, str]]:
        """A driving node, a driven node connected over QUIC, and the name of the driven node.
        ``under`` and ``driver_under`` are commands that start them, such as a profiler."""
        name = self.name("b")
        with ExitStack() as stack:
            target = PythonEnd("quicdist", self.node_options(name, "quic"), under=under)
            stack.callback(target.close)
            driver = PythonEnd(
                "quicdist",
                self.node_options(
                    self.name("a"), "quic", nodes={name: ("127.0.0.1", target.ready["port"])}, listen=False
                ),
                under=driver_under,
            )
            stack.callback(driver.close)
            driver.do("connect", node=name, max_datagram_size=max_datagram_size)
            yield driver, target, name

    @contextmanager
    def ours_over_quic(self, max_datagram_size: int | None = None) -> Iterator[Measurement]:
        with self.two_nodes(max_datagram_size=max_datagram_size) as (driver, _, name):
            yield Measurement(driver, name)

    @contextmanager
    def _bare(self, kind: str, python: str = sys.executable) -> Iterator[Measurement]:
        """A client and a server of a QUIC library, without Erlang."""
        with ExitStack() as stack:
            server = PythonEnd(kind, {"cert": self.tls["cert"], "key": self.tls["key"]}, python=python)
            stack.callback(server.close)
            client = PythonEnd(kind, {"port": server.ready["port"]}, python=python)
            stack.callback(client.close)
            yield Measurement(client, "")

    def bare_aioquic(self) -> AbstractContextManager[Measurement]:
        return self._bare("aioquic")

    @contextmanager
    def bare_aiopquic(self) -> Iterator[Measurement]:
        python = os.environ.get("AIOPQUIC_PYTHON", sys.executable)
        found = subprocess.run([python, "-c", "import aiopquic"], capture_output=True, timeout=60)
        if found.returncode:
            raise NotHere(NO_AIOPQUIC)
        with self._bare("aiopquic", python) as peer:
            yield peer

    @contextmanager
    def _quic_beam(self, names: list[str]) -> Iterator[tuple[BeamEnd, dict[str, tuple[str, int]]]]:
        if quic_erl() is None:
            raise NotHere("no erl finds the application quic (see docs/development.md)")
        addresses = {name: ("127.0.0.1", free_udp_port()) for name in names}
        directory = Path(tempfile.mkdtemp(dir=self.directory))
        with beam_over_quic(names[0], addresses, directory, self.tls) as beam:
            yield beam, addresses

    @contextmanager
    def beam_and_ours_over_quic(self) -> Iterator[Measurement]:
        """A BEAM drives a Python node."""
        with self.quic_pair() as (beam, ours):
            yield Measurement(beam, ours.ready["name"])

    @contextmanager
    def quic_pair(self) -> Iterator[tuple[BeamEnd, PythonEnd]]:
        """A BEAM and a Python node, connected over quic_dist."""
        beam_name, name = self.name("beam"), self.name("py")
        with self._quic_beam([beam_name, name]) as (beam, addresses), ExitStack() as stack:
            node = PythonEnd(
                "quicdist",
                self.node_options(
                    name,
                    "quic",
                    port=addresses[name][1],
                    nodes={beam_name: addresses[beam_name]},
                    verify=False,
                ),
            )
            stack.callback(node.close)
            beam.connect(name)
            yield beam, node

    @contextmanager
    def two_beams_over_quic(self) -> Iterator[Measurement]:
        names = [self.name("beam"), self.name("beam")]
        with (
            self._quic_beam(names) as (beam, addresses),
            beam_over_quic(names[1], addresses, Path(tempfile.mkdtemp(dir=self.directory)), self.tls),
        ):
            beam.connect(names[1])
            yield Measurement(beam, names[1])

    # -- both sides of a row -----------------------------------------------------------------

    @contextmanager
    def against_aioquic(self) -> Iterator[Sides]:
        with self.ours_over_quic() as ours, self.bare_aioquic() as peer:
            yield ours, peer

    @contextmanager
    def against_aioquic_with_short_datagrams(self) -> Iterator[Sides]:
        with self.ours_over_quic(SHORT) as ours, self.bare_aioquic() as peer:
            yield ours, peer

    @contextmanager
    def against_quic_beams(self) -> Iterator[Sides]:
        with self.two_beams_over_quic() as peer, self.ours_over_quic() as ours:
            yield ours, peer

    @contextmanager
    def with_quic_beam(self) -> Iterator[Sides]:
        with self.beam_and_ours_over_quic() as ours, self.two_beams_over_quic() as peer:
            yield ours, peer

    @contextmanager
    def against_pyrlang(self) -> Iterator[Sides]:
        with self._beam_and_ours_over_tcp() as (beam, ours), self._pyrlang(beam) as peer:
            yield Measurement(beam, ours.ready["name"]), peer

    @contextmanager
    def against_tcp_beams(self) -> Iterator[Sides]:
        with self._beam_and_ours_over_tcp() as (beam, ours), beam_over_tcp(self.name("beam")) as other:
            beam.connect(other.name)
            yield Measurement(beam, ours.ready["name"]), Measurement(beam, other.name)

    @contextmanager
    def against_a_port(self) -> Iterator[Sides]:
        with self._beam_and_ours_over_tcp() as (beam, ours):
            yield Measurement(beam, ours.ready["name"]), Measurement(PortEnd(beam), "")

    @contextmanager
    def one_over_tcp(self) -> Iterator[Sides]:
        """A BEAM drives a Python node; both sides are the same."""
        with self._beam_and_ours_over_tcp() as (beam, ours):
            both = Measurement(beam, ours.ready["name"])
            yield both, both

    @contextmanager
    def against_c_with_short_datagrams(self) -> Iterator[Sides]:
        with self.ours_over_quic(SHORT) as ours, self.bare_aiopquic() as peer:
            yield ours, peer

    @contextmanager
    def asking_a_tcp_beam(self) -> Iterator[Sides]:
        """A Python node drives a BEAM, which drives another BEAM."""
        with self._beam_and_ours_over_tcp() as (beam, ours), beam_over_tcp(self.name("beam")) as other:
            beam.connect(other.name)
            yield Measurement(ours, beam.name), Measurement(beam, other.name)

    @contextmanager
    def _beam_and_ours_over_tcp(self) -> Iterator[tuple[BeamEnd, PythonEnd]]:
        if tcp_erl() is None:
            raise NotHere("no erl found")
        with private_epmd(), ExitStack() as stack:
            beam = stack.enter_context(beam_over_tcp(self.name("beam")))
            name = self.name("py")
            node = PythonEnd("quicdist", self.node_options(name, "tcp", port=None))
            stack.callback(node.close)
            beam.connect(name)
            yield beam, node

    @contextmanager
    def _pyrlang(self, beam: BeamEnd) -> Iterator[Measurement]:
        """``beam`` drives a node of Pyrlang."""
        name = self.name("pyrlang")
        environment = {}
        if "PYRLANG_PATH" in os.environ:
            paths = [os.environ["PYRLANG_PATH"], os.environ.get("PYTHONPATH", "")]
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        try:
            node = PythonEnd("pyrlang", {"name": name, "cookie": COOKIE}, environment=environment)
        except EndError as error:
            if "ModuleNotFoundError" in str(error) or "ImportError" in str(error):
                raise NotHere(NO_PYRLANG) from None
            raise
        try:
            beam.connect(name)
            yield Measurement(beam, name)
        finally:
            node.close()


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
