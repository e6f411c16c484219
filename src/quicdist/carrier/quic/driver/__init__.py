"""One QUIC connection in the event loop: what is done around its engine, packet by packet."""

# Here and not in the package above: a node over TCP imports what is free of cryptography there.
from quicdist import dependencies

dependencies.check("cryptography")
