"""The carrier QUIC, as erlang_quic's quic_dist."""
