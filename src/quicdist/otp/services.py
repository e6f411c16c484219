"""Makes the services of a node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TextIO

from quicdist.node.local_node import LocalNode
from quicdist.node.process import Process
from quicdist.node.runtime import Runtime
from quicdist.otp import server_start
from quicdist.otp.caller_output import CallerOutput
from quicdist.otp.crash_reports import CrashReports
from quicdist.otp.dispatcher import Dispatcher
from quicdist.otp.erpc import ErpcClient, RemoteCall
from quicdist.otp.exports import Exports
from quicdist.otp.gen import GenClient
from quicdist.otp.gen_event_client import GenEventClient
from quicdist.otp.gen_server_client import GenServerClient
from quicdist.otp.gen_statem_client import GenStatemClient
from quicdist.otp.global_exports import GlobalExports
from quicdist.otp.global_names import GlobalNames, HiddenGlobalNames, running_server
from quicdist.otp.global_server import GLOBAL_NAME_SERVER, GlobalNameServer, Partitions
from quicdist.otp.io_client import IoClient
from quicdist.otp.io_input import InputSource
from quicdist.otp.io_server import USER, IoServer
from quicdist.otp.kernel_supervisor import KernelSupervisor, spawn_kernel_process
from quicdist.otp.logger import LOGGER_PROXY, LoggerProxy
from quicdist.otp.name_resolver import NameResolver
from quicdist.otp.net_kernel import NET_KERNEL, NetKernel
from quicdist.otp.net_kernel_server import NetKernelServer
from quicdist.otp.output import Outputs
from quicdist.otp.pg import ProcessGroups
from quicdist.otp.rpc import REX, RpcClient
from quicdist.otp.rpc_server import ErpcServer, Rex
from quicdist.otp.state_form import StateForm
from quicdist.otp.sys_client import SysClient
from quicdist.otp.task_client import TaskSupervisorClient
from quicdist.otp.trace_propagation import FEATURES, MODULE, TRACEPARENT, TracePropagation
from quicdist.protocol import DistFlag
from quicdist.term import Atom


@dataclass(frozen=True, slots=True)
class Services:
    """The services of a node, by the names of OTP's modules."""

    gen: GenClient
    erpc: ErpcClient
    rpc: RpcClient
    gen_server: GenServerClient
    gen_statem: GenStatemClient
    gen_event: GenEventClient
    task_supervisor: TaskSupervisorClient
    dispatcher: Dispatcher
    net_kernel: NetKernel
    global_names: GlobalNames
    names: NameResolver
    io: IoClient
    pg: ProcessGroups
    sys: SysClient
    outputs: Outputs
    reports: CrashReports
    kernel_supervisor: KernelSupervisor


def start_services(node: LocalNode, exports: Exports, partitions: Partitions) -> Services:
    """Start the processes that every node has (``net_kernel``, ``rex``, ``user``, ``logger_proxy``,
    ``global_name_server``), and the clients."""
    runtime = node.runtime
    reports = runtime.reporter = CrashReports(runtime, node.connections.link)
    kernel = KernelSupervisor(runtime, node.fail)
    gen = GenClient(runtime)
    kernel.keep("the process that sends calls", gen.start)
    erpc = ErpcClient(runtime, node.connections, gen)
    is_linked = node.connections.is_linked
    make_io_server = partial(_io_server, erpc.call, is_linked)
    group_leader = make_io_server(None, None)
    kernel.keep(USER, lambda: _start_user(runtime, group_leader))
    logger_proxy = LoggerProxy(node.name, erpc.call, is_linked)
    kernel.keep(LOGGER_PROXY, lambda: spawn_kernel_process(runtime, logger_proxy, LOGGER_PROXY))
    net_kernel = NetKernel(node, gen)
    kernel.keep(
        NET_KERNEL,
        lambda: server_start.start(runtime, NetKernelServer(node, net_kernel), name=NET_KERNEL),
    )
    outputs = Outputs(runtime, is_linked)
    kernel.keep("the process that writes to group leaders", outputs.start)
    caller_output = CallerOutput(runtime, outputs, exports)
    node.spawnables.entering = caller_output.entering
    dispatcher = Dispatcher(exports, runtime.calls, caller_output)
    ErpcServer(runtime, dispatcher)
    kernel.keep(REX, lambda: server_start.start(runtime, Rex(runtime, dispatcher), name=REX))
    global_names = _start_global(node, gen, erpc, net_kernel, kernel, exports, partitions)
    names = NameResolver(erpc, global_names, lambda: net_kernel.nodes("connected"))
    gen.find = names.find
    gen_server = GenServerClient(runtime, gen, names)

    if runtime.tracer is not None:
        gen.propagation = erpc.propagation = TracePropagation(runtime.name, node.connections, erpc.features)
        if exports.find(MODULE.name, FEATURES.name, 0) is None:
            exports.add(MODULE, FEATURES, _features)

    kernel.flush = group_leader.close
    kernel.when_stopped(names.stop)
    kernel.when_stopped(logger_proxy.close)
    kernel.when_stopped(dispatcher.close)
    kernel.when_stopped(caller_output.close)
    return Services(
        gen=gen,
        erpc=erpc,
        rpc=RpcClient(runtime, gen, erpc),
        gen_server=gen_server,
        gen_statem=GenStatemClient(runtime, gen, gen_server),
        gen_event=GenEventClient(runtime, gen, gen_server),
        task_supervisor=TaskSupervisorClient(runtime, gen, gen_server),
        dispatcher=dispatcher,
        net_kernel=net_kernel,
        global_names=global_names,
        names=names,
        io=IoClient(runtime, gen, outputs, group_leader, make_io_server),
        pg=ProcessGroups(node),
        sys=SysClient(gen, runtime, StateForm(runtime, node.connections, erpc), names, exports),
        outputs=outputs,
        reports=reports,
        kernel_supervisor=kernel,
    )


def _io_server(
    call: RemoteCall, is_linked: Callable[[str], bool], output: TextIO | None, source: InputSource
) -> IoServer:
    return IoServer(call, output, is_linked, source)


def _features() -> list[Atom]:
    """``quicdist:features/0``: what this node offers to other Python nodes."""
    return [TRACEPARENT]


def _start_global(
    node: LocalNode,
    gen: GenClient,
    erpc: ErpcClient,
    net_kernel: NetKernel,
    kernel: KernelSupervisor,
    exports: Exports,
    partitions: Partitions,
) -> GlobalNames:
    """Start ``global``. A hidden node has it too, as a BEAM has, but asks others for names."""
    runtime, name = node.runtime, GLOBAL_NAME_SERVER.name
    kernel.keep(
        name,
        lambda: server_start.start(runtime, GlobalNameServer(node, gen, erpc, partitions), name=name),
    )
    kernel.when_stopping(lambda: running_server(runtime).protocol.stopping())
    own = GlobalNames(node, net_kernel.nodes)
    GlobalExports(own, exports).export()
    if DistFlag.PUBLISHED in node.identity.flags:
        return own
    return HiddenGlobalNames(
        node,
        net_kernel.nodes,
        erpc,
        lambda: [link.peer.name for link in node.connections.links() if not link.peer.hidden],
    )


def _start_user(runtime: Runtime, group_leader: IoServer) -> Process:
    """Start the group leader, also for the processes that had the one before."""
    process = spawn_kernel_process(runtime, group_leader, USER)
    before, runtime.group_leader = runtime.group_leader, process.pid
    for other in runtime.processes():
        if before is not None and other.group_leader == before:
            other.group_leader = process.pid
    return process
