"""Who is let in: certificates, pre-shared keys, a callback."""

from quicdist import dependencies

dependencies.check("cryptography")
