"""The registered process ``net_kernel``, which other nodes ping and query.

OTP: ``net_kernel(3)``, ``net_adm:ping/1``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quicdist.logs import get_logger
from quicdist.node.dynamic_names import NONODE
from quicdist.node.local_node import LocalNode
from quicdist.node.reports import Shown
from quicdist.otp import gen_server
from quicdist.otp.gen_messages import From
from quicdist.otp.gen_server import GenServer
from quicdist.otp.net_kernel import IS_AUTH, YES, NetKernel
from quicdist.term import Atom

log = get_logger("quicdist.otp")

_OK = Atom("ok")


class NetKernelServer(GenServer):
    """The registered process ``net_kernel``. It answers pings and queries. Requests that would change
    this node (``disconnect``, ``allow``, ``new_ticktime``) are left to its own program: as for unknown
    requests in OTP there is no reply."""

    def __init__(self, node: LocalNode, kernel: NetKernel) -> None:
        self._node = node
        self._kernel = kernel

    def get_state(self) -> Any:
        return self._state()

    def handle_call(self, request: Any, sender: From) -> Any:
        if isinstance(request, tuple) and len(request) == 2 and request[0] == IS_AUTH:
            answer: Any = YES
        elif isinstance(request, Atom) and request.name in _QUERIES:
            answer = _QUERIES[request.name](self)
        else:
            log.debug("net_kernel got an unknown call: %s", Shown(request))
            answer = gen_server.NO_REPLY
        return answer

    def handle_cast(self, request: Any) -> None:
        log.debug("net_kernel got an unknown cast: %s", Shown(request))

    def handle_info(self, message: Any) -> None:
        log.debug("net_kernel got an unknown message: %s", Shown(message))

    def _ticktime(self) -> int:
        return round(self._node.net_ticktime * 1000)

    def _allowed(self) -> Any:
        return (_OK, [Atom(name) for name in self._kernel.allowed()])

    def _longnames(self) -> bool:
        return "." in self._node.static_name.partition("@")[2]

    def _state(self) -> Any:
        domain = Atom("longnames" if self._longnames() else "shortnames")
        dynamic, static = self._node.has_dynamic_name, Atom("static")
        nameless = dynamic and self._node.name == NONODE
        return {
            Atom("started"): static,
            Atom("name_type"): Atom("dynamic") if dynamic else static,
            Atom("name"): Atom("undefined") if nameless else Atom(self._node.name),
            Atom("name_domain"): domain,
        }

    def _nodename(self) -> Atom:
        return Atom(self._node.name)


_QUERIES: dict[str, Callable[[NetKernelServer], Any]] = {
    "ticktime": NetKernelServer._ticktime,
    "nodename": NetKernelServer._nodename,
    "longnames": NetKernelServer._longnames,
    "allowed": NetKernelServer._allowed,
    "get_state": NetKernelServer._state,
}
