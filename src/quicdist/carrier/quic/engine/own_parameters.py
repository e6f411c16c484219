"""Transport parameters of quicdist: features that quic_dist does not have.

A peer ignores those that it does not know (RFC 9000, section 7.4.2). The numbers are in the range for private
use (section 22.3).
"""

from __future__ import annotations

from typing import Final

#: A listener processes early data. Only such a listener is sent early data: quic_dist reads them, answers
#: with packets that no client can decrypt, and continues with a full handshake.
EARLY_DATA: Final = 0x1E6C_71D1_57EA_7101
#: Bulk messages are sent in slices, so that small ones are not queued behind them, and a message may be
#: larger than the window. Sent by every quicdist. quic_dist writes whole messages, up to the window.
PACED: Final = 0x1E6C_71D1_57EA_7110
#: A dialler reads several handshake messages from one buffer. quic_dist reads all bytes in its buffer as one
#: message.
JOINED_MESSAGES: Final = 0x1E6C_71D1_57EA_7102
#: Accepts datagrams of any length, and probe packets. quic_dist sends datagrams of a fixed size, and is sent
#: no longer ones.
LONG_DATAGRAMS: Final = 0x1E6C_71D1_57EA_7103
