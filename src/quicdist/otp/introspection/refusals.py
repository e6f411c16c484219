"""How a question without an answer is refused, as a BEAM refuses it."""

from __future__ import annotations

from typing import Any

from quicdist.node.process import Process
from quicdist.node.runtime import Runtime
from quicdist.otp.errors import RemoteError
from quicdist.term import Atom, Pid

UNDEFINED = Atom("undefined")
_BADARG = Atom("badarg")

#: One exported function: module, name, and the function.
Export = tuple[str, str, Any]


def badarg() -> RemoteError:
    """The error ``badarg``."""
    return RemoteError("error", _BADARG, [])


def local_process(runtime: Runtime, pid: Any) -> Process | None:
    """The living process with this pid of this node. Raises ``badarg`` for anything else."""
    if not isinstance(pid, Pid) or not runtime.is_local(pid):
        raise badarg()
    return runtime.find(pid)
