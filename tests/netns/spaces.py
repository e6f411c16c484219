"""Two network namespaces with two networks between them, by iproute2 and, for faults, TUN."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.netns.wire import Faults, Wire

#: Where the server is, on no network of its own: reached by either.
SERVER = "10.211.0.1"
NETWORKS = ("10.212.0", "10.213.0")
#: Where the client is, to begin with.
CLIENT = f"{NETWORKS[0]}.2"
#: Packets that wait for a wire that has no time: more than any node sends ahead of answers, so that none is
#: lost but by the wire.
_WAITING = 20_000

_numbers = itertools.count(1)


class Unavailable(Exception):
    """This machine does not let us have namespaces; the reason."""


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise Unavailable(f"{' '.join(command)}: {done.stderr.strip()}")


class Spaces:
    """``client`` and ``server``, the names of the namespaces. The client is at .2 of the first network,
    and has no address in the second. With ``faults`` the networks are wires that have them, ``networks`` in
    all. ``tcp`` names the congestion control of TCP; CUBIC is Linux's default, if not this machine's."""

    def __init__(
        self, faults: Faults | None = None, *, networks: int = 2, seed: int = 0, tcp: str = "cubic"
    ) -> None:
        if os.geteuid() != 0:
            raise Unavailable("network namespaces need root")
        if shutil.which("ip") is None:
            raise Unavailable("there is no `ip` on this machine (Debian, Ubuntu: iproute2)")
        number = next(_numbers)
        self.client, self.server = (f"quicdist-{os.getpid()}-{number}-{side}" for side in "cs")
        self._faults = faults
        self._seed = seed
        self._tcp = ("congctl", tcp)
        #: The networks, where they are wires.
        self.wires: list[Wire] = []
        try:
            self._make(NETWORKS[:networks])
        except BaseException:
            self.close()
            raise

    def _make(self, networks: Sequence[str]) -> None:
        for space in (self.client, self.server):
            run("ip", "netns", "add", space)
            self.ip(space, "link", "set", "lo", "up")
        self.ip(self.server, "address", "add", f"{SERVER}/32", "dev", "lo")
        for number, network in enumerate(networks):
            here, there = f"c{number}", f"s{number}"
            self._connect(here, there)
            self.ip(self.client, "link", "set", here, "up")
            self.ip(self.server, "link", "set", there, "up")
            self.ip(self.server, "address", "add", f"{network}.1/24", "dev", there)
            # Who listens on every address answers from the one that was dialled.
            self.ip(
                self.server, "route", "replace", f"{network}.0/24", "dev", there, "src", SERVER, *self._tcp
            )
        self.join(0, 2)

    def _connect(self, here: str, there: str) -> None:
        """A network of two devices, one in each namespace."""
        if self._faults is None:
            self.ip(self.client, "link", "add", here, "type", "veth", "peer", there, "netns", self.server)
            return
        try:
            wire = Wire(self._faults, seed=self._seed + len(self.wires))
        except OSError as error:
            raise Unavailable(f"TUN: {error}") from error
        self.wires.append(wire)
        for device, space, name in zip(wire.devices, (self.client, self.server), (here, there), strict=True):
            run("ip", "link", "set", device, "txqueuelen", str(_WAITING), "netns", space, "name", name)

    def ip(self, space: str, *command: str) -> None:
        run("ip", "-netns", space, *command)

    def join(self, network: int, host: int) -> str:
        """Give the client an address in a network, and the way to the server by it; the address."""
        address = f"{NETWORKS[network]}.{host}"
        self.ip(self.client, "address", "add", f"{address}/24", "dev", f"c{network}")
        self.ip(
            self.client,
            *("route", "replace", SERVER, "via", f"{NETWORKS[network]}.1", "dev", f"c{network}"),
            *("src", address),
            *self._tcp,
        )
        return address

    def mtu(self, network: int, size: int, *, client: bool = True, server: bool = True) -> None:
        """Have either end of a network send packets of up to ``size`` bytes."""
        for space, device, wanted in (
            (self.client, f"c{network}", client),
            (self.server, f"s{network}", server),
        ):
            if wanted:
                self.ip(space, "link", "set", device, "mtu", str(size))

    def leave(self, network: int, host: int) -> None:
        """Take that address away, and the ways by it with it."""
        self.ip(self.client, "address", "del", f"{NETWORKS[network]}.{host}/24", "dev", f"c{network}")

    def command(self, space: str, *command: str) -> list[str]:
        """``command``, to be run in a namespace."""
        return ["ip", "netns", "exec", space, *command]

    def wrapper(self, space: str, program: str, directory: Path) -> Path:
        """A program that is ``program`` in a namespace."""
        path = directory / f"in-{space}"
        path.write_text(f'#!/bin/sh\nexec ip netns exec {space} {program} "$@"\n')
        path.chmod(0o755)
        return path

    def close(self) -> None:
        for wire in self.wires:
            wire.close()
        for space in (self.client, self.server):
            subprocess.run(["ip", "netns", "del", space], capture_output=True, timeout=30)
