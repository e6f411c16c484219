"""The carrier QUIC, as erlang_quic's quic_dist."""

from quicdist import dependencies

dependencies.check("aioquic")
