"""The acceptor's side of the handshake: a peer dials (``dist_util:handshake_other_started/1``)."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from quicdist.protocol.challenges import Challenges
from quicdist.protocol.errors import (
    UNNAMED,
    ConnectionAlive,
    HandshakeError,
    InvalidNodeName,
    MalformedHandshake,
    MandatoryFlagsMissing,
    WrongCookie,
)
from quicdist.protocol.flags import MANDATORY, DistFlag
from quicdist.protocol.handshake import Event, Handshake, OldConnectionPending, PeerNamed, PeerProved
from quicdist.protocol.handshake_framing import HandshakeFraming
from quicdist.protocol.handshake_messages import (
    ComplementMessage,
    Due,
    NameMessage,
    Status,
    decode_answer,
    decode_complement,
    decode_name_message,
    decode_reply,
    encode_ack,
    encode_challenge,
    encode_status,
    gen_digest,
)
from quicdist.protocol.identity import GivenName, LocalIdentity
from quicdist.protocol.names import encode_name, parse_node_name

#: The flags in an old name message.
_LOW = 0xFFFF_FFFF


class Acceptor(Handshake):
    """Answer a peer that dials.

    Events: :class:`PeerNamed`, to be answered with :meth:`send_status`; after the status ``alive``
    :class:`OldConnectionPending`; at last :class:`Connected`. ``cookie_for`` is asked for the cookie once the
    peer's name is known. ``challenge`` (32 bits) is random by default; ``challenges`` are the outstanding
    ones of this node, by which it detects one that comes back. With ``confirm``, :class:`PeerProved` precedes
    :class:`Connected`, to be answered with :meth:`acknowledge`.
    """

    def __init__(
        self,
        local: LocalIdentity,
        framing: HandshakeFraming,
        cookie_for: Callable[[str], str],
        *,
        challenge: int | None = None,
        challenges: Challenges | None = None,
        confirm: bool = False,
    ) -> None:
        super().__init__(local, UNNAMED, framing, challenge, challenges)
        self._confirm = confirm
        self._cookie_for = cookie_for
        self._named: PeerNamed | None = None
        self._status: Status | None = None
        self._ack: bytes | None = None
        #: False after an old name message.
        self._is_complete = True
        self._due = Due.NAME

    def send_status(self, answer: Status | GivenName) -> None:
        """Answer :class:`PeerNamed`, and continue unless it is a refusal (``nok``, ``not_allowed``).

        A peer that asked for a name is given one (``Status.NAMED``), or refused: answered ``ok``,
        :class:`HandshakeError` is raised.
        """
        peer = self._named
        status, name, creation = Status.NAMED, "", 0
        if isinstance(answer, GivenName):
            name, creation = answer.name, answer.creation
        else:
            status = answer
        if peer is None or self._status is not None:
            raise RuntimeError("no peer is waiting for a status")
        if (status is Status.NAMED) and not peer.wants_name:
            raise ValueError(f"{peer.name} did not ask for a name")
        if peer.wants_name and status not in (Status.NAMED, Status.NOK, Status.NOT_ALLOWED):
            self._refuse()
            text = f"a node at {peer.name} asked for a name, and this node assigns none"
            raise HandshakeError(peer.name, text)
        if status is Status.NAMED:
            parse_node_name(name)
            self._named = PeerNamed(name, peer.flags, creation)
            self.node = name
        self._status = status
        self._send(encode_status(status, name, creation))
        if status in (Status.NOK, Status.NOT_ALLOWED):
            self._end()
        elif status is Status.ALIVE:
            self._due = Due.ANSWER
        else:
            self._send_challenge()

    def acknowledge(self) -> list[Event]:
        """After :class:`PeerProved`: acknowledge, and be connected."""
        if self._ack is None or self._status is Status.ALIVE:
            raise RuntimeError("no peer waits for an acknowledgement")
        return [self._acknowledge(self._ack)]

    def old_connection_down(self) -> list[Event]:
        """After :class:`OldConnectionPending`: acknowledge, and be connected."""
        if self._ack is None:
            raise RuntimeError("no handshake waits for an old connection to go down")
        return [self._acknowledge(self._ack)]

    def _received(self, due: Due, message: bytes) -> list[Event]:
        if due is Due.NAME:
            return [self._name(decode_name_message(message, self.node))]
        if due is Due.ANSWER:
            if not decode_answer(message, self.node):
                self._fail(ConnectionAlive(self.node))
            self._buffer.discard_extra_data()
            self._send_challenge()
            return []
        if due is Due.COMPLEMENT:
            self._complement(decode_complement(message, self.node))
            return []
        reply = decode_reply(message, self.node)
        cookie = self._cookie_for(self.node)
        if not hmac.compare_digest(reply.digest, gen_digest(self._challenge, cookie)):
            self._fail(WrongCookie(self.node, "its digest of our challenge is not what our cookie gives"))
        self._check_challenge(reply.challenge)
        ack = encode_ack(gen_digest(reply.challenge, cookie))
        if self._status is Status.ALIVE:
            self._due, self._ack = None, ack
            return [OldConnectionPending(self.node)]
        if self._confirm:
            self._due, self._ack = None, ack
            return [PeerProved(self.node)]
        return [self._acknowledge(ack)]

    def _name(self, said: NameMessage) -> PeerNamed:
        peer = PeerNamed(said.name, said.flags, said.creation)
        try:
            if peer.wants_name:
                encode_name(said.name)  # the host alone
                if "@" in said.name:
                    raise InvalidNodeName(said.name, "a host was expected")
            else:
                parse_node_name(said.name)
        except InvalidNodeName as error:
            expected = "a host name" if peer.wants_name else "a node name of the form alive@host"
            raise MalformedHandshake(self.node, expected, repr(said.name)) from error
        self.node = said.name
        self._is_complete = not said.old
        self._require(said.flags, _LOW & MANDATORY if said.old else MANDATORY)
        self._named = peer
        self._due = None
        self._buffer.discard_extra_data()
        return peer

    def _complement(self, rest: ComplementMessage) -> None:
        """What an old name message lacks."""
        assert self._named is not None
        named = PeerNamed(self._named.name, self._named.flags | rest.flags, rest.creation)
        self._require(named.flags, MANDATORY)
        self._named = named
        self._due = Due.REPLY

    def _require(self, flags: DistFlag, required: int) -> None:
        """Refuse a peer that lacks one of these flags."""
        try:
            self._check_flags(flags, required)
        except MandatoryFlagsMissing:
            self._refuse()
            raise

    def _refuse(self) -> None:
        self._status = Status.NOT_ALLOWED
        self._send(encode_status(Status.NOT_ALLOWED))
        self._end()

    def _send_challenge(self) -> None:
        local, flags = self.local, self.local.flags
        if self._status is Status.NAMED:
            flags |= DistFlag.NAME_ME  # or the peer does not take its name: dist_util:publish_flag/3
        self._send(encode_challenge(flags, self._challenge, local.creation, local.name))
        self._due = Due.REPLY if self._is_complete else Due.COMPLEMENT

    def _acknowledge(self, ack: bytes) -> Event:
        assert self._named is not None
        self._ack = None
        self._send(ack)
        return self._connected(self._named.name, self._named.creation, self._named.flags)
