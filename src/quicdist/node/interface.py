"""What a process can use of its node.

The classes behind these protocols are above :mod:`~quicdist.node.process`: :class:`quicdist.Node`, which a
body sees as ``process.node``, and :class:`~quicdist.node.runtime.Runtime`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, TypeVar

from quicdist.carrier import UserStream
from quicdist.node.process_relations import MonitorAlias
from quicdist.node.spawn_options import SpawnRequestOptions
from quicdist.node.tracing import CallTracer
from quicdist.term import Atom, Pid, Reference
from quicdist.term.names import Name

#: The class of processes.
P = TypeVar("P", covariant=True)
#: The same, where processes are passed as well.
Q = TypeVar("Q")


class NodeInterface(Protocol[P]):
    """The methods of a process's node; :class:`quicdist.Node` documents them.

    The services of OTP's modules are in :mod:`quicdist.otp`, above this package, and not typed here: a
    body that wants their types too begins with ``assert isinstance(process.node, Node)``.
    """

    #: A :class:`~quicdist.node.local_node.LocalNode`, for :class:`~quicdist.LoggerHandler`, which is made
    #: before the node has services.
    _local: Any

    @property
    def name(self) -> str: ...
    @property
    def _services(self) -> Any: ...
    @property
    def quic_dist(self) -> Any: ...
    @property
    def erpc(self) -> Any: ...
    @property
    def rpc(self) -> Any: ...
    @property
    def gen_server(self) -> Any: ...
    @property
    def gen_statem(self) -> Any: ...
    @property
    def gen_event(self) -> Any: ...
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


class ProcessRuntime(Protocol[Q]):
    """The runtime of a process's node, see :class:`~quicdist.node.runtime.Runtime`: what processes and the
    services of OTP use of it."""

    name: str
    owner: NodeInterface[Q]
    tracer: CallTracer | None

    # -- messages --------------------------------------------------------------------------

    def send(
        self, source: Pid, to: Any, message: Any, *, priority: bool = False, owner: Pid | None = None
    ) -> None: ...

    def locate(self, target: Any) -> tuple[str, Pid | Atom]: ...

    def submit(self, function: Callable[..., Any], *args: Any) -> None: ...

    # -- links, monitors, aliases ----------------------------------------------------------

    def link(self, process: Q, to: Pid, *, priority: bool = False) -> None: ...

    def unlink(self, process: Q, to: Pid) -> None: ...

    def send_exit(self, source: Pid, to: Pid | Reference, reason: Any, *, priority: bool = False) -> None: ...

    def monitor(
        self, process: Q, target: Any, *, alias: bool | MonitorAlias, tag: Any, priority: bool
    ) -> Reference: ...

    def demonitor(self, reference: Reference, watcher: Pid) -> bool: ...

    def alias(
        self,
        process: Q,
        reference: Reference,
        kind: MonitorAlias | Literal["reply"],
        *,
        priority: bool = False,
    ) -> None: ...

    def unalias(self, reference: Reference) -> bool: ...

    def monitored(self, process: Q) -> list[Pid | tuple[Atom, Atom]]: ...

    def new_reference(self) -> Reference: ...

    def set_group_leader(self, source: Pid, leader: Pid, of: Pid) -> None: ...

    # -- spawning --------------------------------------------------------------------------

    def spawn(
        self,
        function: Callable[..., Any],
        *args: Any,
        name: Name | None = None,
        link_to: Q | None = None,
    ) -> Q: ...

    async def spawn_on(
        self,
        process: Q,
        node: Name,
        mfa: tuple[Name, Name, Sequence[Any]],
        *,
        link: bool,
        reference: Reference | None = None,
    ) -> Pid: ...

    def spawn_request(
        self,
        process: Q,
        node: Name,
        mfa: tuple[Name, Name, Sequence[Any]],
        options: SpawnRequestOptions,
    ) -> Reference: ...

    def abandon_spawn_request(self, reference: Reference, parent: Pid) -> bool: ...

    # -- timers ----------------------------------------------------------------------------

    def start_timer(self, seconds: float, to: Any, message: Any, *, tagged: bool) -> Reference: ...

    def cancel_timer(self, reference: Reference) -> float | None: ...

    def read_timer(self, reference: Reference) -> float | None: ...

    # -- the end ---------------------------------------------------------------------------

    def exit(self, process: Q, reason: Any) -> None: ...

    def terminate(self, process: Q, reason: Any) -> None: ...

    def crashed(self, process: Q, error: BaseException, message: Any = None) -> None: ...
