"""Transport parameters of our own: what quicdist nodes can do that quic_dist cannot.

A peer that does not know one skips it (RFC 9000, section 7.4.2); the numbers are out of the range for
private use (section 22.3).
"""

from __future__ import annotations

from typing import Final

#: A listener takes early data for what they are. Only such a one is sent any: quic_dist reads them, answers
#: with packets that no client can read, and goes on with a full handshake as if they had not been.
EARLY_DATA: Final = 0x1E6C_71D1_57EA_7101
#: What is large is sent so that what is little does not wait behind it, and in parts where a window
#: has no room for all of it. quic_dist writes all that the window allows, in whole pieces.
PACED: Final = 0x1E6C_71D1_57EA_7110
#: A dialler takes messages of the handshake that reach it together. To quic_dist what lies in its
#: buffer is one message.
JOINED_MESSAGES: Final = 0x1E6C_71D1_57EA_7102
#: Takes datagrams of any length, and probes of what the path takes. quic_dist has its own for what it
#: sends, and is sent no longer ones than those.
LONG_DATAGRAMS: Final = 0x1E6C_71D1_57EA_7103
