"""The services of a BEAM node: net_kernel, rpc, gen_server, supervisor, ...; clients and servers."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quicdist.otp.call_context import Call, current_call
    from quicdist.otp.child_spec import ChildSpec
    from quicdist.otp.errors import CallingSelf, CallTimeout, RemoteError
    from quicdist.otp.gen_event import EventHandler, GenEvent, RemoveHandler, SwapHandler
    from quicdist.otp.gen_server import HIBERNATE, IGNORE, NO_REPLY, Continue, GenServer, NoReply, Reply, Stop
    from quicdist.otp.gen_statem import (
        POSTPONE,
        Event,
        EventTimeout,
        GenericTimeout,
        GenStatem,
        KeepState,
        NextEvent,
        NextState,
        RepeatState,
        StateTimeout,
        state_function,
    )
    from quicdist.otp.logger import LoggerHandler
    from quicdist.otp.metrics import (
        CallMetrics,
        ClusterMetrics,
        ConnectionMetrics,
        LinkMetrics,
        NodeMetrics,
        ProcessMetrics,
    )
    from quicdist.otp.node import Node
    from quicdist.otp.request import Request
    from quicdist.otp.server_names import Global, NameRegistry, Via
    from quicdist.otp.supervisor import Supervisor
    from quicdist.otp.task_supervisor import TaskSupervisor
else:
    from quicdist.lazy import lazy_names

    # A node loads the behaviours that its program uses.
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "quicdist.otp.call_context": "Call current_call",
            "quicdist.otp.child_spec": "ChildSpec",
            "quicdist.otp.errors": "CallTimeout CallingSelf RemoteError",
            "quicdist.otp.gen_event": "EventHandler GenEvent RemoveHandler SwapHandler",
            "quicdist.otp.gen_server": "Continue GenServer HIBERNATE IGNORE NO_REPLY NoReply Reply Stop",
            "quicdist.otp.gen_statem": """
                Event EventTimeout GenStatem GenericTimeout KeepState NextEvent NextState POSTPONE
                RepeatState StateTimeout state_function
            """,
            "quicdist.otp.logger": "LoggerHandler",
            "quicdist.otp.metrics": """
                CallMetrics ClusterMetrics ConnectionMetrics LinkMetrics NodeMetrics ProcessMetrics
            """,
            "quicdist.otp.node": "Node",
            "quicdist.otp.request": "Request",
            "quicdist.otp.server_names": "Global NameRegistry Via",
            "quicdist.otp.supervisor": "Supervisor",
            "quicdist.otp.task_supervisor": "TaskSupervisor",
        },
    )

__all__ = [
    "HIBERNATE",
    "IGNORE",
    "NO_REPLY",
    "POSTPONE",
    "Call",
    "CallMetrics",
    "CallTimeout",
    "CallingSelf",
    "ChildSpec",
    "ClusterMetrics",
    "ConnectionMetrics",
    "Continue",
    "Event",
    "EventHandler",
    "EventTimeout",
    "GenEvent",
    "GenServer",
    "GenStatem",
    "GenericTimeout",
    "Global",
    "KeepState",
    "LinkMetrics",
    "LoggerHandler",
    "NameRegistry",
    "NextEvent",
    "NextState",
    "NoReply",
    "Node",
    "NodeMetrics",
    "ProcessMetrics",
    "RemoteError",
    "RemoveHandler",
    "RepeatState",
    "Reply",
    "Request",
    "StateTimeout",
    "Stop",
    "Supervisor",
    "SwapHandler",
    "TaskSupervisor",
    "Via",
    "current_call",
    "state_function",
]
