"""A connection that a listener accepted: its connection ids and their stateless reset tokens."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from quicdist.carrier.quic.engine.aioquic.connection import Connection
from quicdist.carrier.refusal_log import RateLimitedLogger


class AcceptedConnection(Connection):
    """``reset_token`` makes the stateless reset token of a connection id (RFC 9000, section 10.3.2).
    aioquic's tokens are random, so a restarted listener could not send them.

    After a Retry the first connection id is that of the Retry packet: quic_dist up to 1.3.1 keeps using that
    one, whatever is sent later.
    """

    def __init__(self, *, reset_token: Callable[[bytes], bytes], **arguments: Any) -> None:
        super().__init__(**arguments)
        self._logger.logger = RateLimitedLogger(logging.getLogger("quic"))
        self._reset_token = reset_token
        first = self._host_cids[0]
        if self._retry_source_connection_id is not None:
            first.cid = self.host_cid = self._retry_source_connection_id
            self._local_initial_source_connection_id = first.cid
        first.stateless_reset_token = reset_token(first.cid)

    def _replenish_connection_ids(self) -> None:
        count = len(self._host_cids)
        super()._replenish_connection_ids()
        for issued in self._host_cids[count:]:
            issued.stateless_reset_token = self._reset_token(issued.cid)
