"""aioquic behind the contract of the engine. Only this package touches aioquic, public or private."""

from quicdist import dependencies
from quicdist.carrier.quic.engine.aioquic.deferred_imports import import_tls

dependencies.check("aioquic")
dependencies.check("cryptography")
import_tls()
