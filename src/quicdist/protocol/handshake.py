"""The handshake of version 6, sans-I/O: the base of both roles, and their events.

Source: ERTS User's Guide, *Distribution Protocol*, *Distribution Handshake*; OTP's ``dist_util``.
The roles are :class:`~quicdist.protocol.Initiator` and :class:`~quicdist.protocol.Acceptor`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NoReturn

from quicdist.protocol.challenges import Challenges
from quicdist.protocol.errors import (
    HandshakeEnded,
    HandshakeError,
    MandatoryFlagsMissing,
)
from quicdist.protocol.flags import MANDATORY, DistFlag, expand, missing
from quicdist.protocol.handshake_framing import HandshakeBuffer, HandshakeFraming, frame
from quicdist.protocol.handshake_messages import Due, Status
from quicdist.protocol.identity import LocalIdentity, Peer


@dataclass(frozen=True, slots=True)
class PeerNamed:
    """Acceptor: a peer has sent its name; the owner answers with :meth:`Acceptor.send_status`.

    With NAME_ME in ``flags`` the peer asks for a name, and ``name`` is its host.
    """

    name: str
    flags: DistFlag
    creation: int

    @property
    def wants_name(self) -> bool:
        """Whether it is to be answered with ``Status.NAMED``."""
        return bool(self.flags & DistFlag.NAME_ME)

    @property
    def host(self) -> str:
        """The host in its name."""
        return self.name if self.wants_name else self.name.partition("@")[2]


@dataclass(frozen=True, slots=True)
class StatusReceived:
    """Initiator: the acceptor continues. (``nok`` and ``not_allowed`` are raised as errors.)

    On ``Status.ALIVE`` the owner answers with :meth:`Initiator.send_alive_answer`. On
    ``Status.NAMED`` this node has been given ``name`` and ``creation``.
    """

    status: Status
    name: str = ""
    creation: int = 0


@dataclass(frozen=True, slots=True)
class OldConnectionPending:
    """Acceptor: a peer that was answered ``alive`` has shown that it knows the cookie.

    Only now may the owner close the old connection. When that is done, it calls
    :meth:`Acceptor.old_connection_down`.
    """

    name: str


@dataclass(frozen=True, slots=True)
class PeerProved:
    """Acceptor with ``confirm``: the peer has shown that it knows the cookie, and waits for the proof that
    this node does too. The owner calls :meth:`Acceptor.acknowledge`, or closes the connection."""

    name: str


@dataclass(frozen=True, slots=True)
class Connected:
    """The handshake is done. ``leftover`` are the bytes received after it: the first frames.

    ``local`` is this node as the peer knows it (with NAME_ME, under the name it was given).
    """

    peer: Peer
    local: LocalIdentity
    leftover: bytes


#: The events of a handshake.
Event = PeerNamed | StatusReceived | OldConnectionPending | PeerProved | Connected


class Handshake(ABC):
    """One handshake; bytes in, events out, bytes out.

    After an error was raised :meth:`data_to_send` may still have a last message for the peer
    (a refusal); it is to be written before the connection is closed.
    """

    def __init__(
        self,
        local: LocalIdentity,
        node: str,
        framing: HandshakeFraming,
        challenge: int | None,
        challenges: Challenges | None,
    ) -> None:
        self.local = local
        #: The peer's name, for errors; a text in its place until it is known.
        self.node = node
        self._framing = framing
        self._challenges = challenges or Challenges()
        self._challenge = self._challenges.draw(self) if challenge is None else challenge
        self._reflected = False
        self._buffer = HandshakeBuffer(framing)
        self._out: list[bytes] = []
        self._due: Due | None = None  # None: the owner has to answer, or it is over
        self._over = False

    @property
    def over(self) -> bool:
        """Whether nothing more is to come: connected, refused or failed."""
        return self._over

    def receive_data(self, data: bytes) -> list[Event]:
        """Take bytes as they came, in any pieces. Raises :class:`HandshakeError`."""
        if self._over:
            raise RuntimeError("the handshake is over: these bytes belong to the connection")
        self._buffer.feed(data)
        events: list[Event] = []
        try:
            while self._due is not None:
                message = self._buffer.next(self._due, self.node)
                if message is None:
                    break
                events.extend(self._received(self._due, message))
            if not self._over:
                self._buffer.check_bound(self.node)
        except HandshakeError:
            self._end()
            raise
        return events

    def data_to_send(self) -> list[bytes]:
        """The messages to write now, framed for the carrier.

        With BARE framing two elements must not reach the peer together (quic_dist takes all
        that lies in its buffer for one message): the carrier writes one, and the next only when
        the peer has acknowledged it.
        """
        out, self._out = self._out, []
        return out

    @property
    def expects(self) -> str:
        """The message that the peer has to send next, in words for an error."""
        return self._due or "its own answer"

    def connection_closed(self) -> HandshakeError:
        """The error that a connection closed by the peer means at this point; to be raised."""
        self._is_over()
        return HandshakeEnded(self.node, self.expects)

    def _reflected_challenge(self) -> HandshakeError:
        """The error for a peer that sends a challenge of this node back, to get the answer to it."""
        return HandshakeError(
            self.node, f"{self.node} sent a challenge of this node back to it: not answered"
        )

    def challenge_reflected(self) -> None:
        """This handshake's challenge came back in another one: no answer to it counts any more."""
        self._reflected = True

    # -- for the roles -----------------------------------------------------------------------

    @abstractmethod
    def _received(self, due: Due, message: bytes) -> list[Event]:
        """Handle one message."""

    def _send(self, message: bytes) -> None:
        self._out.append(frame(message, self._framing))

    def _end(self) -> None:
        self._due = None
        self._is_over()

    def _is_over(self) -> None:
        self._over = True
        self._challenges.give_up(self._challenge, self)

    def _fail(self, error: HandshakeError) -> NoReturn:
        self._end()
        try:
            raise error
        finally:
            del error  # It holds this frame.

    def _check_challenge(self, challenge: int) -> None:
        """Whether the peer's ``challenge`` may be answered."""
        if self._reflected or self._challenges.is_reflected(challenge):
            self._fail(self._reflected_challenge())

    def _check_flags(self, flags: DistFlag, required: int = MANDATORY) -> None:
        lacking = missing(flags, required)
        if lacking:
            self._fail(MandatoryFlagsMissing(self.node, self.local.name, lacking))

    def _connected(self, name: str, creation: int, flags: DistFlag) -> Connected:
        self._end()
        peer = Peer(name, creation, flags, flags & expand(self.local.flags))
        return Connected(peer, self.local, self._buffer.leftover())
