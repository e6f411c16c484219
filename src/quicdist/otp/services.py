"""The services of one node, put together."""

from __future__ import annotations

from dataclasses import dataclass

from quicdist.node.local_node import LocalNode
from quicdist.node.process import Process
from quicdist.node.runtime import Runtime
from quicdist.otp import server_process
from quicdist.otp.applier import Applier
from quicdist.otp.crash_reports import CrashReports
from quicdist.otp.erpc import ErpcClient
from quicdist.otp.exports import Exports
from quicdist.otp.gen import Caller
from quicdist.otp.gen_server_client import GenServerClient
from quicdist.otp.global_names import GlobalNames
from quicdist.otp.group_leader import USER, GroupLeader
from quicdist.otp.io_client import IoClient
from quicdist.otp.keeper import Keeper
from quicdist.otp.logger import LOGGER_PROXY, LoggerProxy
from quicdist.otp.names import Names
from quicdist.otp.net_kernel import NET_KERNEL, NetKernel, NetKernelServer
from quicdist.otp.pg import ProcessGroups
from quicdist.otp.rpc import REX, RpcClient
from quicdist.otp.rpc_server import ErpcServer, Rex
from quicdist.otp.service_process import spawn_service
from quicdist.otp.sys_client import StateForm, SysClient


@dataclass(frozen=True, slots=True)
class Services:
    """What a node offers its program, by the name of OTP's module."""

    caller: Caller
    erpc: ErpcClient
    rpc: RpcClient
    gen_server: GenServerClient
    net_kernel: NetKernel
    global_names: GlobalNames
    names: Names
    io: IoClient
    pg: ProcessGroups
    sys: SysClient
    reports: CrashReports
    keeper: Keeper


def start_services(node: LocalNode, exports: Exports) -> Services:
    """Start the processes that every node has (``net_kernel``, ``rex``, ``user``, ``logger_proxy``), and
    the clients."""
    runtime = node.runtime
    reports = runtime.reporter = CrashReports(runtime, node.connections.link)
    keeper = Keeper(runtime, node.fail)
    caller = Caller(runtime)
    keeper.keep("the process that asks for the node", caller.start)
    erpc = ErpcClient(runtime, node.spawning, node.connections, caller)
    is_linked = node.connections.is_linked
    group_leader = GroupLeader(erpc.call, is_connected=is_linked)
    keeper.keep(USER, lambda: _start_user(runtime, group_leader))
    logger_proxy = LoggerProxy(node.name, erpc.call, is_linked)
    keeper.keep(LOGGER_PROXY, lambda: spawn_service(runtime, logger_proxy, LOGGER_PROXY))
    net_kernel = NetKernel(node, caller)
    keeper.keep(
        NET_KERNEL,
        lambda: server_process.start(runtime, NetKernelServer(node, net_kernel), name=NET_KERNEL),
    )
    applier = Applier(exports)
    ErpcServer(runtime, node.spawning, applier)
    keeper.keep(REX, lambda: server_process.start(runtime, Rex(runtime, applier), name=REX))
    global_names = GlobalNames(erpc, lambda: net_kernel.nodes("connected"))
    names = Names(erpc, global_names, lambda: net_kernel.nodes("connected"))
    caller.find = names.find

    keeper.flush = group_leader.close
    keeper.when_stopped(names.stop)
    keeper.when_stopped(logger_proxy.close)
    keeper.when_stopped(applier.close)
    return Services(
        caller=caller,
        erpc=erpc,
        rpc=RpcClient(runtime, caller, erpc),
        gen_server=GenServerClient(runtime, caller, names),
        net_kernel=net_kernel,
        global_names=global_names,
        names=names,
        io=IoClient(runtime, caller),
        pg=ProcessGroups(node),
        sys=SysClient(caller, runtime, StateForm(runtime, node.connections, erpc), names),
        reports=reports,
        keeper=keeper,
    )


def _start_user(runtime: Runtime, group_leader: GroupLeader) -> Process:
    """Start the group leader; who had the one before has this one now."""
    process = spawn_service(runtime, group_leader, USER)
    before, runtime.group_leader = runtime.group_leader, process.pid
    for other in runtime.processes():
        if before is not None and other.group_leader == before:
            other.group_leader = process.pid
    return process
