"""The functions with which tools of other nodes look at this one: the observer, ``etop``, ``rpc:pinfo``.

OTP: ``observer(3)``, ``etop(3)``, ``erlang(3)``; the module ``observer_backend`` of ``runtime_tools``. They
are exported only if the program asks for it (:meth:`~quicdist.otp.node_exports.NodeExports.introspection`).
All of them only read.

What this node does not have is shown as none: no ETS table, no reductions. A question without a true answer
is refused as a BEAM refuses an unknown one, with ``badarg`` or ``undef``.
"""

from quicdist.otp.introspection.table import Introspection

__all__ = ["Introspection"]
