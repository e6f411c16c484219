"""The initiator's side of the handshake: this node dials (``dist_util:handshake_we_started/1``)."""

from __future__ import annotations

import dataclasses
import hmac

from quicdist.protocol.challenges import Challenges
from quicdist.protocol.errors import (
    HandshakeError,
    InvalidNodeName,
    MalformedHandshake,
    NotAllowed,
    SimultaneousConnect,
    WrongCookie,
    WrongNodeName,
)
from quicdist.protocol.flags import DistFlag
from quicdist.protocol.handshake import Event, Handshake, StatusReceived
from quicdist.protocol.handshake_framing import HandshakeFraming
from quicdist.protocol.handshake_messages import (
    ChallengeMessage,
    Due,
    Status,
    StatusMessage,
    decode_ack,
    decode_challenge,
    decode_status,
    encode_answer,
    encode_name_message,
    encode_reply,
    gen_digest,
)
from quicdist.protocol.identity import LocalIdentity
from quicdist.protocol.names import parse_node_name


class Initiator(Handshake):
    """Dial ``peer_name``. The name message can be sent at once.

    Events: :class:`StatusReceived`, then :class:`Connected`. ``challenge`` (32 bits) is random by default;
    ``challenges`` are the outstanding ones of this node, by which it detects one that comes back. Raises
    ValueError for a cookie outside Latin-1.
    """

    def __init__(
        self,
        local: LocalIdentity,
        peer_name: str,
        cookie: str,
        framing: HandshakeFraming,
        *,
        challenge: int | None = None,
        challenges: Challenges | None = None,
    ) -> None:
        super().__init__(local, peer_name, framing, challenge, challenges)
        self._cookie = cookie
        self._digest_due = gen_digest(self._challenge, cookie)
        self._peer: ChallengeMessage | None = None
        self._wants_name = bool(local.flags & DistFlag.NAME_ME)
        creation = 0 if self._wants_name else local.creation
        self._send(encode_name_message(local.flags, creation, local.name))
        self._due = Due.STATUS

    def send_alive_answer(self, go_on: bool) -> None:
        """Answer the status ``alive``: True, this attempt is to replace the old connection, or
        False, this attempt is dropped; then the connection is to be closed."""
        if self._due is not None or self._over:
            raise RuntimeError("no status alive is waiting for an answer")
        self._send(encode_answer(go_on))
        if go_on:
            self._due = Due.CHALLENGE
        else:
            self._end()

    def connection_closed(self) -> HandshakeError:
        if self._due is Due.ACK:
            self._is_over()
            text = "it closed the connection after our digest, as OTP does then or after net_setuptime"
            return WrongCookie(self.node, text)
        return super().connection_closed()

    def _received(self, due: Due, message: bytes) -> list[Event]:
        if due is Due.STATUS:
            return [self._status(decode_status(message, self.node))]
        if due is Due.CHALLENGE:
            self._challenged(decode_challenge(message, self.node))
            return []
        digest = decode_ack(message, self.node)
        if self._reflected:
            self._fail(self._reflected_challenge())
        if not hmac.compare_digest(digest, self._digest_due):
            self._fail(WrongCookie(self.node, "its digest of our challenge is not what our cookie gives"))
        assert self._peer is not None
        return [self._connected(self._peer.name, self._peer.creation, self._peer.flags)]

    def _status(self, answer: StatusMessage) -> StatusReceived:
        status = answer.status
        if status is Status.NOT_ALLOWED:
            self._fail(NotAllowed(self.node))
        if self._wants_name and status is not Status.NAMED:
            text = f"{self.node} was asked for a name and answered {status}"
            self._fail(HandshakeError(self.node, text))
        if status is Status.NOK:
            self._fail(SimultaneousConnect(self.node))
        if status is Status.NAMED:
            self._take_name(answer)
        if status is Status.ALIVE:
            self._due = None
            self._buffer.discard_extra_data()
        else:
            self._due = Due.CHALLENGE
        return StatusReceived(status, answer.name, answer.creation)

    def _take_name(self, answer: StatusMessage) -> None:
        if not self._wants_name:
            self._fail(MalformedHandshake(self.node, "a status", f"the name {answer.name!r} unasked"))
        try:
            host = parse_node_name(answer.name).host
        except InvalidNodeName as error:
            raise MalformedHandshake(self.node, "a node name", repr(answer.name)) from error
        if answer.name == self.node:
            self._fail(MalformedHandshake(self.node, "a name for this node", "its own"))
        if host != self.local.name:
            self._fail(MalformedHandshake(self.node, f"a name at host {self.local.name}", repr(answer.name)))
        self.local = dataclasses.replace(self.local, name=answer.name, creation=answer.creation)

    def _challenged(self, challenge: ChallengeMessage) -> None:
        if challenge.name != self.node:
            self._fail(WrongNodeName(self.node, challenge.name))
        self._check_flags(challenge.flags)
        self._check_challenge(challenge.challenge)
        self._peer = challenge
        self._send(encode_reply(self._challenge, gen_digest(challenge.challenge, self._cookie)))
        self._buffer.discard_extra_data()
        self._due = Due.ACK
