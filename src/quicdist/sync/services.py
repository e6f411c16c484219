"""The services of OTP's modules, for threads: the same methods as those of :mod:`quicdist.otp`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from quicdist.node.quic_dist import QuicDist as AsyncQuicDist
from quicdist.otp.erpc import ErpcClient as AsyncErpc
from quicdist.otp.gen_event_client import GenEventClient as AsyncGenEvent
from quicdist.otp.gen_server_client import GenServerClient as AsyncGenServer
from quicdist.otp.gen_statem_client import GenStatemClient as AsyncGenStatem
from quicdist.otp.global_names import GlobalNames as AsyncGlobalNames
from quicdist.otp.io_client import IoClient as AsyncIo
from quicdist.otp.net_kernel import NetKernel as AsyncNetKernel
from quicdist.otp.pg import ProcessGroups as AsyncProcessGroups
from quicdist.otp.pg import Scope as AsyncScope
from quicdist.otp.rpc import RpcClient as AsyncRpc
from quicdist.otp.sys_client import SysClient as AsyncSys
from quicdist.otp.task_client import TaskSupervisorClient as AsyncTaskSupervisor
from quicdist.sync.loop_thread import LoopThread
from quicdist.sync.methods import Facade, blocking, blocking_to, in_loop, in_loop_to
from quicdist.sync.process import Process, process_of, process_or_none
from quicdist.sync.request import Request, request_of
from quicdist.sync.threads import in_thread
from quicdist.term import Atom, Map, Pid, Reference
from quicdist.term.names import Name

T = TypeVar("T")


class ErpcClient(Facade[AsyncErpc]):
    """``erpc``: functions of other nodes, one or many at once."""

    call = blocking(AsyncErpc.call)
    send_request = in_loop_to(AsyncErpc.send_request, request_of)
    features = blocking(AsyncErpc.features)
    cast = in_loop(AsyncErpc.cast)
    multicall = blocking(AsyncErpc.multicall)
    multicast = in_loop(AsyncErpc.multicast)


class RpcClient(Facade[AsyncRpc]):
    """``rpc``: its functions that ``erpc`` does not have."""

    block_call = blocking(AsyncRpc.block_call)
    multicall = blocking(AsyncRpc.multicall)
    abcast = in_loop(AsyncRpc.abcast)
    sbcast = blocking(AsyncRpc.sbcast)
    server_call = blocking(AsyncRpc.server_call)
    multi_server_call = blocking(AsyncRpc.multi_server_call)


class GenServerClient(Facade[AsyncGenServer]):
    """``gen_server``: servers of any node."""

    call = blocking(AsyncGenServer.call)
    send_request = in_loop_to(AsyncGenServer.send_request, request_of)
    cast = in_loop(AsyncGenServer.cast)
    send = in_loop(AsyncGenServer.send)
    multi_call = blocking(AsyncGenServer.multi_call)
    abcast = in_loop(AsyncGenServer.abcast)
    stop = blocking(AsyncGenServer.stop)
    start = blocking_to(AsyncGenServer.start, process_or_none)


class GenStatemClient(Facade[AsyncGenStatem]):
    """``gen_statem``: state machines of any node."""

    call = blocking(AsyncGenStatem.call)
    send_request = in_loop_to(AsyncGenStatem.send_request, request_of)
    cast = in_loop(AsyncGenStatem.cast)
    stop = blocking(AsyncGenStatem.stop)
    start = blocking_to(AsyncGenStatem.start, process_or_none)


class GenEventClient(Facade[AsyncGenEvent]):
    """``gen_event``: event managers of any node."""

    notify = in_loop(AsyncGenEvent.notify)
    sync_notify = blocking(AsyncGenEvent.sync_notify)
    call = blocking(AsyncGenEvent.call)
    send_request = in_loop_to(AsyncGenEvent.send_request, request_of)
    which_handlers = blocking(AsyncGenEvent.which_handlers)
    add_handler = blocking(AsyncGenEvent.add_handler)

    def add_sup_handler(self, to: Any, handler: Any, args: Any = None, *, process: Process) -> None:
        """As :meth:`add_handler`, for as long as ``process`` lives (``gen_event:add_sup_handler/3``)."""
        self._thread.call(self._inner.add_sup_handler, to, handler, args, process=process.inner)

    delete_handler = blocking(AsyncGenEvent.delete_handler)
    swap_handler = blocking(AsyncGenEvent.swap_handler)
    stop = blocking(AsyncGenEvent.stop)
    start = blocking_to(AsyncGenEvent.start, process_or_none)


class TaskSupervisorClient(Facade[AsyncTaskSupervisor]):
    """``Task.Supervisor`` of Elixir: tasks on any node that has one."""

    async_nolink = blocking_to(AsyncTaskSupervisor.async_nolink, request_of)

    def async_link(
        self,
        to: Any,
        module: Name,
        function: Name,
        arguments: Sequence[Any] = (),
        *,
        process: Process,
        **options: Any,
    ) -> Request[Any]:
        """As :meth:`async_nolink`, with ``process`` as the owner of the task, linked to it
        (``Task.Supervisor.async/5``)."""
        asking = self._inner.async_link
        return request_of(
            self._thread,
            self._thread.call(asking, to, module, function, arguments, process=process.inner, **options),
        )

    start_child = blocking(AsyncTaskSupervisor.start_child)
    children = blocking(AsyncTaskSupervisor.children)
    terminate_child = blocking(AsyncTaskSupervisor.terminate_child)


class NetKernel(Facade[AsyncNetKernel]):
    """``net_kernel``: the other nodes."""

    nodes = in_loop(AsyncNetKernel.nodes)
    node_info = in_loop(AsyncNetKernel.node_info)
    nodes_info = in_loop(AsyncNetKernel.nodes_info)

    def monitor_nodes(
        self,
        process: Process,
        flag: bool = True,
        options: Sequence[Any] | Mapping[Any, Any] | None = None,
    ) -> None:
        """Send a process a message whenever a node connects or disconnects
        (``net_kernel:monitor_nodes/2``); see :meth:`quicdist.otp.net_kernel.NetKernel.monitor_nodes`."""
        self._thread.call(self._inner.monitor_nodes, process.inner, flag, options)

    is_auth = blocking(AsyncNetKernel.is_auth)
    disconnect = in_loop(AsyncNetKernel.disconnect)
    allow = in_loop(AsyncNetKernel.allow)
    allowed = in_loop(AsyncNetKernel.allowed)
    set_cookie = in_loop(AsyncNetKernel.set_cookie)
    get_cookie = in_loop(AsyncNetKernel.get_cookie)
    get_net_ticktime = in_loop(AsyncNetKernel.get_net_ticktime)


class GlobalNames(Facade[AsyncGlobalNames]):
    """``global``: names that the whole cluster knows, and locks on all of its nodes."""

    whereis_name = blocking(AsyncGlobalNames.whereis_name)
    registered_names = blocking(AsyncGlobalNames.registered_names)
    register_name = blocking(AsyncGlobalNames.register_name)
    re_register_name = blocking(AsyncGlobalNames.re_register_name)
    unregister_name = blocking(AsyncGlobalNames.unregister_name)
    register_name_external = blocking(AsyncGlobalNames.register_name_external)
    send = blocking(AsyncGlobalNames.send)
    sync = blocking(AsyncGlobalNames.sync)
    disconnect = in_loop(AsyncGlobalNames.disconnect)
    set_lock = blocking(AsyncGlobalNames.set_lock)
    del_lock = blocking(AsyncGlobalNames.del_lock)

    def trans(
        self,
        lock_id: tuple[Any, Any],
        function: Callable[[], T],
        nodes: Iterable[Name] | None = None,
        retries: int | None = None,
    ) -> T | Atom:
        """Call ``function`` in a thread while a lock is set, and return its value (``global:trans/4``);
        ``Atom("aborted")`` if the lock is taken. The arguments are those of :meth:`set_lock`."""

        async def locked() -> Any:
            return await in_thread("quicdist global:trans", function)

        result: T | Atom = self._thread.call(
            _trans, self._inner, lock_id, locked, None if nodes is None else list(nodes), retries
        )
        return result


async def _trans(
    names: AsyncGlobalNames,
    lock_id: tuple[Any, Any],
    function: Callable[[], Awaitable[Any]],
    nodes: list[Name] | None,
    retries: int | None,
) -> Any:
    return await names.trans(lock_id, function, nodes, retries)


class IoClient(Facade[AsyncIo]):
    """``io``: text to and from processes that know Erlang's I/O protocol."""

    set_input = in_loop(AsyncIo.set_input)
    start_device = in_loop_to(AsyncIo.start_device, process_of)
    put_chars = blocking(AsyncIo.put_chars)
    get_line = blocking(AsyncIo.get_line)
    get_chars = blocking(AsyncIo.get_chars)
    get_password = blocking(AsyncIo.get_password)
    read = blocking(AsyncIo.read)
    fread = blocking(AsyncIo.fread)
    getopts = blocking(AsyncIo.getopts)

    def setopts(self, device: Any, *, timeout: float | None = None, **options: Any) -> None:
        """Set options of a device (``io:setopts/2``)."""
        self._thread.call(self._inner.setopts, device, timeout=timeout, **options)

    request = blocking(AsyncIo.request)


class Scope(Facade[AsyncScope]):
    """One scope of ``pg`` on this node; members are processes or pids of this node."""

    get_members = in_loop(AsyncScope.get_members)
    get_local_members = in_loop(AsyncScope.get_local_members)
    which_groups = in_loop(AsyncScope.which_groups)
    which_local_groups = in_loop(AsyncScope.which_local_groups)
    join = in_loop(AsyncScope.join)
    leave = in_loop(AsyncScope.leave)

    def monitor(self, group: Any, process: Process) -> tuple[Reference, list[Pid]]:
        """Send ``process`` a message for each change of a group; the members now (``pg:monitor/2``)."""
        watched: tuple[Reference, list[Pid]] = self._thread.call(self._inner.monitor, group, process.inner)
        return watched

    def monitor_scope(self, process: Process) -> tuple[Reference, Map]:
        """Send ``process`` a message for each change of any group; the groups now
        (``pg:monitor_scope/1``)."""
        watched: tuple[Reference, Map] = self._thread.call(self._inner.monitor_scope, process.inner)
        return watched

    def stop(self) -> None:
        """End the scope on this node."""
        self._thread.call(self._inner.process.stop)

    demonitor = in_loop(AsyncScope.demonitor)


def _scope(thread: LoopThread, scope: AsyncScope) -> Scope:
    return Scope(thread, scope)


class ProcessGroups(Facade[AsyncProcessGroups]):
    """``pg``: groups of processes that the nodes of a scope see."""

    start = in_loop_to(AsyncProcessGroups.start, _scope)


class SysClient(Facade[AsyncSys]):
    """``sys``: the state and the control of servers of any node. The function of ``replace_state`` and of
    ``install`` is called in the thread of the node."""

    get_state = blocking(AsyncSys.get_state)
    replace_state = blocking(AsyncSys.replace_state)
    change_code = blocking(AsyncSys.change_code)
    get_status = blocking(AsyncSys.get_status)
    suspend = blocking(AsyncSys.suspend)
    resume = blocking(AsyncSys.resume)
    terminate = blocking(AsyncSys.terminate)
    trace = blocking(AsyncSys.trace)
    log = blocking(AsyncSys.log)
    get_log = blocking(AsyncSys.get_log)
    print_log = blocking(AsyncSys.print_log)
    log_to_file = blocking(AsyncSys.log_to_file)
    statistics = blocking(AsyncSys.statistics)
    get_statistics = blocking(AsyncSys.get_statistics)
    install = blocking(AsyncSys.install)
    remove = blocking(AsyncSys.remove)
    no_debug = blocking(AsyncSys.no_debug)


class QuicDist(Facade[AsyncQuicDist]):
    """``quic_dist``: how single nodes are dialled, and the streams there are. To open and accept streams, see
    ``open_stream`` and ``accept_streams`` of the node."""

    set_connect_options = in_loop(AsyncQuicDist.set_connect_options)
    get_connect_options = in_loop(AsyncQuicDist.get_connect_options)
    clear_connect_options = in_loop(AsyncQuicDist.clear_connect_options)
    list_streams = in_loop(AsyncQuicDist.list_streams)
