"""One QUIC connection in the event loop: what is done around its engine, packet by packet."""
