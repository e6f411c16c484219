"""The QUIC carrier, compatible with erlang_quic's ``quic_dist``."""

from typing import Final

#: quic_dist's default UDP port (``QUIC_DIST_DEFAULT_PORT``).
DEFAULT_PORT: Final = 4433
