"""aioquic behind the contract of the engine. Only this package touches aioquic, public or private."""

from quicdist import dependencies

dependencies.check("aioquic")
dependencies.check("cryptography")
