"""Path validation (RFC 9000, section 8.2) that does not depend on the path MTU.

A datagram with PATH_CHALLENGE or PATH_RESPONSE must have at least 1200 bytes (sections 8.2.1 and 8.2.2).
aioquic pads it to the size of all datagrams, up to 16384. If the new path takes only shorter ones, each
response is lost, with the acknowledgements in it, and the path is never validated.
``tests/simulated/test_paths.py`` fails where a new aioquic changes this.
"""

from __future__ import annotations

from typing import Any

from aioquic.quic.connection import QuicConnection

from quicdist.carrier.quic.engine.path_mtu import MIN_SIZE


class ValidatesPaths(QuicConnection):
    """A connection that validates paths with datagrams of 1200 bytes."""

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Any]]:
        size = self._max_datagram_size
        if size <= MIN_SIZE or not any(
            path.remote_challenges or not (path.is_validated or path.local_challenge_sent)
            for path in self._network_paths
            # Other paths are not validated while there is no connection id of the peer for them.
            if path is self._network_paths[0] or path.peer_cid is not None or self._peer_cid_available
        ):
            return super().datagrams_to_send(now)
        self._max_datagram_size = MIN_SIZE
        try:
            return super().datagrams_to_send(now)
        finally:
            self._max_datagram_size = size
