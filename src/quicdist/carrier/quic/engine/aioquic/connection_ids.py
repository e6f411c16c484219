"""Connection ids and their stateless reset tokens (RFC 9000, sections 5.1 and 10.3)."""

from __future__ import annotations

from typing import Any

from aioquic.buffer import Buffer  # type: ignore[attr-defined]  # as in aioquic's examples
from aioquic.quic.connection import QuicConnection, QuicConnectionError, QuicReceiveContext
from aioquic.quic.packet import QuicErrorCode
from aioquic.quic.packet_builder import QuicPacketBuilder


class OwnConnectionIds(QuicConnection):
    """A connection whose peer retires only connection ids that it knows."""

    #: The sequence number of the last connection id that was sent to the peer.
    _last_cid_sent = 0

    def _write_new_connection_id_frame(self, builder: QuicPacketBuilder, connection_id: Any) -> None:
        super()._write_new_connection_id_frame(builder, connection_id)
        self._last_cid_sent = max(self._last_cid_sent, connection_id.sequence_number)

    def _handle_retire_connection_id_frame(
        self, context: QuicReceiveContext, frame_type: int, buf: Buffer
    ) -> None:
        at = buf.tell()
        if buf.pull_uint_var() > self._last_cid_sent:
            # RFC 9000, section 19.16. aioquic takes those it has made and not sent yet for sent, and makes
            # one more for each.
            raise QuicConnectionError(
                QuicErrorCode.PROTOCOL_VIOLATION, frame_type, "Cannot retire unknown connection ID"
            )
        buf.seek(at)
        super()._handle_retire_connection_id_frame(context, frame_type, buf)


def reset_tokens(quic: QuicConnection) -> list[bytes]:
    """The stateless reset tokens of the peer's connection ids in use (RFC 9000, section 10.3.1)."""
    in_use = [quic._peer_cid, *(path.peer_cid for path in quic._network_paths if path.peer_cid is not None)]
    return [used.stateless_reset_token for used in in_use if used.stateless_reset_token]
