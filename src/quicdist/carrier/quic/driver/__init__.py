"""The asyncio driver of QUIC engines: sockets, timers, admission of connections, and the send queues."""

# Here and not in the package above: a node over TCP imports that package without cryptography.
from quicdist import dependencies

dependencies.check("cryptography")
