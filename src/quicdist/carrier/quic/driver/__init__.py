"""One QUIC connection in the event loop: what is done around aioquic, packet by packet."""

# Here and not in the package above: a node over TCP imports what is free of aioquic there.
from quicdist import dependencies

dependencies.check("aioquic")
dependencies.check("cryptography")
