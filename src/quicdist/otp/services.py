"""The services of one node, put together."""

from __future__ import annotations

from dataclasses import dataclass

from quicdist.node.core import NodeCore
from quicdist.otp import server_process
from quicdist.otp.applier import Applier
from quicdist.otp.crash_reports import CrashReports
from quicdist.otp.erpc import ErpcClient
from quicdist.otp.exports import Exports
from quicdist.otp.gen import Caller
from quicdist.otp.gen_server_client import GenServerClient
from quicdist.otp.global_names import GlobalNames
from quicdist.otp.group_leader import GroupLeader
from quicdist.otp.io_client import IoClient
from quicdist.otp.logger import LOGGER_PROXY, LoggerProxy
from quicdist.otp.names import Names
from quicdist.otp.net_kernel import NET_KERNEL, NetKernel, NetKernelServer
from quicdist.otp.pg import ProcessGroups
from quicdist.otp.rpc import REX, RpcClient
from quicdist.otp.rpc_server import ErpcServer, Rex
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


def start_services(node: NodeCore, exports: Exports) -> Services:
    """Start the processes that every node has (``net_kernel``, ``rex``, ``user``, ``logger_proxy``), and
    the clients."""
    runtime = node.runtime
    reports = runtime.reporter = CrashReports(runtime, node.connections.link)
    caller = Caller(runtime)
    group_leader = GroupLeader()
    leader = runtime.spawn(group_leader, name="user")
    runtime.group_leader = leader.pid
    erpc = ErpcClient(runtime, node.spawning, node.connections, caller, leader.pid)
    group_leader.call = erpc.call
    runtime.spawn(LoggerProxy(node.name, erpc.call), name=LOGGER_PROXY)
    net_kernel = NetKernel(node, caller)
    server_process.start(runtime, NetKernelServer(node, net_kernel), name=NET_KERNEL)
    applier = Applier(exports)
    ErpcServer(runtime, node.spawning, applier)
    server_process.start(runtime, Rex(runtime, applier), name=REX)
    global_names = GlobalNames(erpc, lambda: net_kernel.nodes("connected"))
    names = Names(erpc, global_names, lambda: net_kernel.nodes("connected"))
    caller.find = names.find
    caller.process.on_end(names.stop)
    caller.process.on_end(applier.close)
    return Services(
        caller=caller,
        erpc=erpc,
        rpc=RpcClient(runtime, caller, erpc, leader.pid),
        gen_server=GenServerClient(runtime, caller, names),
        net_kernel=net_kernel,
        global_names=global_names,
        names=names,
        io=IoClient(runtime, caller),
        pg=ProcessGroups(node),
        sys=SysClient(caller, runtime, StateForm(runtime, node.connections, erpc), names),
        reports=reports,
    )
