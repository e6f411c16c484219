"""One QUIC connection in the event loop: what is done around aioquic, packet by packet."""
