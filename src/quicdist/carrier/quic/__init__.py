"""The carrier QUIC, as erlang_quic's quic_dist."""

from typing import Final

#: quic_dist's UDP port unless told otherwise (``QUIC_DIST_DEFAULT_PORT``).
DEFAULT_PORT: Final = 4433
