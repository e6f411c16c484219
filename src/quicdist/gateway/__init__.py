"""A gateway: carries the distribution of a stock BEAM over QUIC. See ``docs/how-to/gateway.md``.

It runs beside one BEAM (the *local node*). Nothing of the BEAM is changed but its environment::

    local node ──TCP, loopback── gateway ══QUIC══ gateway ──TCP, loopback── a stock BEAM
                                    ╚═════QUIC═════════════════════════════ quic_dist, or quicdist

**Names.** A BEAM that dials ``b@host2`` resolves ``host2``, asks the epmd at that address for ``b``, and
connects to the port it is given. Neither the question nor the handshake names the host. So every remote host
has a loopback address of its own (:mod:`quicdist.gateway.hosts`), at which the gateway answers as that host's
epmd (:mod:`quicdist.gateway.epmd`). Every remote node that was asked for has a TCP port of its own at that
address (:mod:`quicdist.gateway.remote_nodes`). The addresses come to the BEAM by ``ERL_INETRC``, a file that
the gateway writes, or by ``/etc/hosts``.

**The local node's epmd** is the gateway, at 127.0.0.1, or an epmd that runs there already. Its answer is the
port to which nodes that dial over QUIC are connected.

**Handshakes** pass through (:mod:`quicdist.protocol.handshake_relay`), so the gateway needs no cookie. Taken
out are the flags that need one ordered stream. A simultaneous connect is decided by the two BEAMs.
Connections from QUIC are bounded as at a node, in number, time and bytes, until the local node has accepted
the digest.

**Frames** are relayed one by one, undecoded but for the receiver (:mod:`quicdist.protocol.relay`). All
signals to one process take one stream, and the fragments of one message too. A side that takes no more holds
the other back: nothing is read from it until the queue is short. Ticks are answered on each side. When a side
goes, the other is closed at once (:mod:`quicdist.gateway.relay`).
"""

from quicdist.gateway.errors import GatewayError
from quicdist.gateway.gateway import Gateway

__all__ = ["Gateway", "GatewayError"]
