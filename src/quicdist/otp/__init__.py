"""What a BEAM node offers by itself: net_kernel, rpc, gen_server, supervisor; clients and servers."""

from quicdist.otp.calls import Call, current_call
from quicdist.otp.child_spec import ChildSpec
from quicdist.otp.errors import CallTimeout, RemoteError
from quicdist.otp.gen_server import IGNORE, NO_REPLY, Continue, GenServer, NoReply, Reply, Stop
from quicdist.otp.global_names import Global
from quicdist.otp.logger import LoggerHandler
from quicdist.otp.node import Node
from quicdist.otp.request import Request
from quicdist.otp.supervisor import Supervisor

__all__ = [
    "IGNORE",
    "NO_REPLY",
    "Call",
    "CallTimeout",
    "ChildSpec",
    "Continue",
    "GenServer",
    "Global",
    "LoggerHandler",
    "NoReply",
    "Node",
    "RemoteError",
    "Reply",
    "Request",
    "Stop",
    "Supervisor",
    "current_call",
]
