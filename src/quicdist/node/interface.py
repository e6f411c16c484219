"""The node as its processes see it: ``process.node``.

:class:`quicdist.Node` is in a package above this one, so its processes know it by this protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from quicdist.carrier import UserStream
from quicdist.term.names import Name

#: The class of processes.
P = TypeVar("P", covariant=True)


class NodeInterface(Protocol[P]):
    """What a process may ask of its node; see :class:`quicdist.Node` for what each does.

    The services of OTP's modules are in :mod:`quicdist.otp`, above this package, and not typed here: a
    body that wants their types too begins with ``assert isinstance(process.node, Node)``.
    """

    name: str
    connections: Any
    quic_dist: Any

    @property
    def runtime(self) -> Any: ...
    @property
    def services(self) -> Any: ...
    @property
    def erpc(self) -> Any: ...
    @property
    def rpc(self) -> Any: ...
    @property
    def gen_server(self) -> Any: ...
    @property
    def sys(self) -> Any: ...
    @property
    def net_kernel(self) -> Any: ...
    @property
    def global_names(self) -> Any: ...
    @property
    def pg(self) -> Any: ...
    @property
    def io(self) -> Any: ...

    # -- processes -------------------------------------------------------------------------

    def spawn(self, function: Callable[..., Any], *args: Any, name: Name | None = None) -> P: ...

    def whereis(self, name: Name) -> P | None: ...

    def send(self, to: Any, message: Any) -> None: ...

    def call_soon_threadsafe(self, function: Callable[..., Any], *args: Any) -> None: ...

    async def stop(self) -> None: ...

    # -- other nodes -----------------------------------------------------------------------

    async def connect(self, node: Name) -> None: ...

    def disconnect(self, node: Name) -> bool: ...

    def nodes(self, *kinds: Name) -> list[str]: ...

    async def ping(self, node: Name, *, timeout: float = 10.0) -> bool: ...

    async def drain(self, node: Name) -> None: ...

    async def open_stream(self, node: Name, *, priority: int = ...) -> UserStream: ...

    def accept_streams(
        self, handler: Callable[[UserStream], Any] | None = None, *, node: Name | None = None
    ) -> Any: ...

    def list_streams(self, node: Name | None = None) -> list[Any]: ...

    async def call(
        self,
        node: Name,
        module: Name,
        function: Name,
        arguments: Sequence[Any] = (),
        *,
        timeout: float | None = None,
    ) -> Any: ...

    def cast(self, node: Name, module: Name, function: Name, arguments: Sequence[Any] = ()) -> None: ...

    async def gen_server_call(self, to: Any, request: Any, *, timeout: float | None = 5.0) -> Any: ...

    def gen_server_cast(self, to: Any, request: Any) -> None: ...
