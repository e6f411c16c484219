"""Headers and frames of QUIC packets (RFC 9000, sections 17 and 19), as bytes."""
