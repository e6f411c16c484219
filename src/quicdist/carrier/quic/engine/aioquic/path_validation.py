"""Path validation that does not depend on the path MTU.

A datagram with a PATH_CHALLENGE or PATH_RESPONSE has to have at least 1200 bytes (RFC 9000, sections 8.2.1
and 8.2.2). aioquic pads it to the size of all datagrams, up to 16384: where a path came to take less than
that, the response is lost each time, and with it the acknowledgements in it, and the peer never trusts the
path. ``tests/simulated/test_paths.py`` fails where a new aioquic changes what stands here.
"""

from __future__ import annotations

from typing import Any

from aioquic.quic.connection import QuicConnection

from quicdist.carrier.quic.engine.path_mtu import MIN_SIZE


class ValidatesPaths(QuicConnection):
    """A connection that checks paths with the shortest datagrams that may."""

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Any]]:
        size = self._max_datagram_size
        if size <= MIN_SIZE or not any(
            path.remote_challenges or not (path.is_validated or path.local_challenge_sent)
            for path in self._network_paths
            # Others are not asked while the peer has given no connection id for them.
            if path is self._network_paths[0] or path.peer_cid is not None or self._peer_cid_available
        ):
            return super().datagrams_to_send(now)
        self._max_datagram_size = MIN_SIZE
        try:
            return super().datagrams_to_send(now)
        finally:
            self._max_datagram_size = size
