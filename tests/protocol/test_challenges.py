"""An outstanding challenge of this node is never answered by it, whoever hands it back.

Without that, a peer that this node dials, and that dials it, is authenticated without the cookie.
"""

from __future__ import annotations

import gc
from unittest import mock

import pytest

from quicdist.protocol import (
    Acceptor,
    Challenges,
    Connected,
    HandshakeError,
    HandshakeFraming,
    Initiator,
    PeerProved,
    Status,
)
from quicdist.protocol.handshake_messages import (
    decode_challenge,
    decode_reply,
    encode_challenge,
    encode_reply,
    encode_status,
    gen_digest,
)
from tests.protocol.pair import COOKIE, A, B, acceptor, greet, initiator, one

BARE = HandshakeFraming.BARE


def dialling(challenges: Challenges) -> Initiator:
    """This node, B, dials A; its name is said."""
    machine = Initiator(B, A.name, COOKIE, BARE, challenges=challenges)
    machine.data_to_send()
    machine.receive_data(encode_status(Status.OK, "", 0))
    return machine


def accepting(challenges: Challenges) -> tuple[Acceptor, int]:
    """This node, B, is dialled by A and has sent this challenge."""
    machine = Acceptor(B, BARE, lambda node: COOKIE, challenges=challenges)
    machine.receive_data(b"".join(initiator(BARE).data_to_send()))
    machine.send_status(Status.OK)
    (challenge,) = [message for message in machine.data_to_send() if message[:1] == b"N"]
    return machine, decode_challenge(challenge, "b").challenge


def challenge_of_a(challenge: int) -> bytes:
    return encode_challenge(A.flags, challenge, A.creation, A.name)


def test_a_challenge_handed_back_to_the_node_that_dials_is_not_answered() -> None:
    challenges = Challenges()
    accepted, challenge = accepting(challenges)
    dialled = dialling(challenges)
    with pytest.raises(HandshakeError, match="a challenge of this node back to it"):
        dialled.receive_data(challenge_of_a(challenge))
    assert dialled.data_to_send() == []
    # Whoever has the answer from elsewhere is too late as well.
    with pytest.raises(HandshakeError, match="a challenge of this node back to it"):
        accepted.receive_data(encode_reply(7, gen_digest(challenge, COOKIE)))
    assert accepted.data_to_send() == []


def test_a_challenge_of_a_dial_is_not_answered_on_another_dial() -> None:
    challenges = Challenges()
    first, second = dialling(challenges), dialling(challenges)
    first.receive_data(challenge_of_a(1))
    (reply,) = first.data_to_send()
    ours = decode_reply(reply, "b").challenge
    with pytest.raises(HandshakeError, match="a challenge of this node back to it"):
        second.receive_data(challenge_of_a(ours))
    assert second.data_to_send() == []
    with pytest.raises(HandshakeError, match="a challenge of this node back to it"):
        first.receive_data(b"a" + bytes(16))


def test_a_challenge_of_a_dial_is_not_acknowledged_to_one_that_dials() -> None:
    challenges = Challenges()
    dialled = dialling(challenges)
    dialled.receive_data(challenge_of_a(1))
    (reply,) = dialled.data_to_send()
    ours = decode_reply(reply, "b").challenge
    accepted, challenge = accepting(challenges)
    with pytest.raises(HandshakeError, match="a challenge of this node back to it"):
        accepted.receive_data(encode_reply(ours, gen_digest(challenge, COOKIE)))
    assert accepted.data_to_send() == []


def test_its_own_challenge_on_the_same_connection_is_not_acknowledged() -> None:
    challenges = Challenges()
    accepted, challenge = accepting(challenges)
    with pytest.raises(HandshakeError, match="a challenge of this node back to it"):
        accepted.receive_data(encode_reply(challenge, gen_digest(challenge, COOKIE)))


def test_a_challenge_that_is_no_longer_outstanding_may_be_the_peers() -> None:
    challenges = Challenges()
    accepted, challenge = accepting(challenges)
    accepted.connection_closed()
    dialled = dialling(challenges)
    dialled.receive_data(challenge_of_a(challenge))
    assert dialled.data_to_send()


def test_a_freed_handshake_gives_its_challenge_up() -> None:
    challenges = Challenges()
    accepted, challenge = accepting(challenges)
    assert challenges._outstanding
    del accepted
    gc.collect()
    assert not challenges._outstanding
    assert not challenges.is_reflected(challenge)


def test_challenges_are_not_repeated_while_they_are_outstanding() -> None:
    challenges = Challenges()
    drawn = iter([5, 5, 5, 9])
    with mock.patch("secrets.randbits", side_effect=lambda bits: next(drawn)):
        first, second = acceptor(BARE), acceptor(BARE)
        assert challenges.draw(first) != challenges.draw(second)


def test_confirm_waits_for_the_owner_before_the_acknowledgement() -> None:
    dialled, accepted = initiator(BARE), Acceptor(B, BARE, lambda node: COOKIE, confirm=True)
    greet(dialled, accepted, Status.OK)
    assert one(accepted.receive_data(b"".join(dialled.data_to_send()))) == PeerProved(A.name)
    assert accepted.data_to_send() == []
    assert isinstance(one(accepted.acknowledge()), Connected)
    assert isinstance(one(dialled.receive_data(b"".join(accepted.data_to_send()))), Connected)
    with pytest.raises(RuntimeError):
        accepted.acknowledge()
