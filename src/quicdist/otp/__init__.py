"""What a BEAM node offers by itself: net_kernel, rpc, gen_server; clients and servers."""

from quicdist.otp.errors import CallTimeout, RemoteError
from quicdist.otp.gen_server import NO_REPLY, GenServer
from quicdist.otp.node import Node

__all__ = ["NO_REPLY", "CallTimeout", "GenServer", "Node", "RemoteError"]
