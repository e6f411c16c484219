"""The services of a BEAM node: net_kernel, rpc, gen_server, supervisor, ...; clients and servers."""

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
