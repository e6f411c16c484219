"""What one quic_dist does otherwise than another, from what was measured and its changelog."""

from __future__ import annotations

from dataclasses import dataclass, replace

from quicdist.protocol import DistFlag

#: The flags of OTP 27 behind quic_dist up to 1.3.x, which offers an atom cache, and from 1.4.0 on.
LEGACY_FLAGS = DistFlag(0xD07DF7FBD)
FLAGS = DistFlag(0xD07DF5FBD)


@dataclass(frozen=True)
class Behaviour:
    """One quic_dist. Times are in seconds."""

    version: str
    #: Streams each way that carry messages, and whether the receiver joins their bytes in one buffer.
    data_streams: int = 16
    one_buffer: bool = False
    flags: DistFlag = FLAGS
    #: Only frames that begin where another one ended are joined.
    joins_exactly: bool = True
    #: A second socket that nobody reads has a part of the ports that dial.
    second_socket: bool = False
    #: Flights of the QUIC handshake are sent again where they are lost.
    resends_handshake: bool = True
    #: Probes are sent where the congestion window has no room, as RFC 9002 (section 7.5) wants it.
    probes_beyond_window: bool = True
    #: Session tickets resume sessions.
    resumes: bool = True
    #: Without an acknowledgement of what is in flight, the connection is closed after so long.
    disconnect_timeout: float | None = 16.0
    #: A CONNECTION_CLOSE is sent at all; and after a distribution handshake that failed.
    tells_close: bool = True
    closes_refused: bool = True
    #: Packets of connections that are forgotten are answered by stateless resets.
    resets: bool = True
    #: Bytes by which frames exceed a flow-control limit. Before 2.1.0 a small one that rides on an
    #: acknowledgement may, by up to 40; to be asked for, as it is rare.
    overrun: int = 0
    net_ticktime: float = 60.0


_V2_0 = Behaviour("2.0")
_V1_8_2 = replace(_V2_0, version="1.8.2", closes_refused=False, probes_beyond_window=False)
_V1_8_1 = replace(
    _V1_8_2,
    version="1.8.1",
    resends_handshake=False,
    resumes=False,
    disconnect_timeout=None,
    tells_close=False,
)
_V1_3 = replace(_V1_8_1, version="1.3", data_streams=4, one_buffer=True, flags=LEGACY_FLAGS, resets=False)
_V0_11 = replace(_V1_3, version="0.11", second_socket=True)

#: By version.
QUIC_DIST = {each.version: each for each in (_V0_11, _V1_3, _V1_8_1, _V1_8_2, _V2_0)}
