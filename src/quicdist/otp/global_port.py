"""What the protocol of ``global`` needs of its node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Protocol

from quicdist.term import Pid, Reference

#: Long work, in pieces: iterated to its end before the next message is handled.
Work = Iterator[None]


class GlobalPort(Protocol):
    """What the protocol needs of its node. Each call has its effect later, never within the call."""

    name: str
    random: Random

    @property
    def locker(self) -> Pid: ...

    def cast(self, node: str, message: Any) -> None:
        """Cast to the ``global_name_server`` of a node."""

    def send(self, node: str, message: Any) -> None:
        """Send to the ``global_name_server`` of a node, if it is connected."""

    def tell_locker(self, message: Any) -> None: ...

    def start_resolver(self, node: str, my_tag: int, names: list[Any]) -> Callable[[], None]:
        """Compare names, then pass :class:`ResolverEnded` to the server. Returns a function that ends it."""

    def monitor(self, pid: Pid) -> Reference: ...

    def demonitor(self, reference: Reference) -> None: ...

    def connect(self, node: str, done: Callable[[bool], None]) -> None:
        """Connect to a node if it is not connected, then call ``done``."""

    def disconnect(self, node: str) -> None: ...

    def is_visible(self, node: str) -> bool:
        """Whether a node is connected, and not hidden."""

    def is_alive(self, pid: Pid) -> bool:
        """Whether a process of this node lives."""

    def link(self, pid: Pid) -> None: ...

    def unlink(self, pid: Pid) -> None: ...

    def unique_integer(self) -> int:
        """A number greater than those before it."""

    def now(self) -> float:
        """Seconds of a monotonic clock."""

    def warn(self, message: str, *args: Any) -> None: ...
