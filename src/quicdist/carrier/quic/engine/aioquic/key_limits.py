"""The keys of an established connection: updated before they have protected too much, and given up when
too many forgeries were tried (RFC 9001, sections 6 and 6.6).

aioquic can update keys and never does so itself. It forgets the old ones at once, so that what the peer
sent before it heard of an update is lost; and it derives the next ones for every packet that asks for
them, whoever forged it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from aioquic.quic.connection import QuicConnection
from aioquic.quic.crypto import (
    CryptoContext,
    CryptoPair,
    KeyUnavailableError,
    apply_key_phase,
    next_key_phase,
)
from aioquic.quic.packet import QuicErrorCode, QuicFrameType, decode_packet_number, is_long_header
from aioquic.tls import CipherSuite, Epoch

from quicdist.carrier.quic.engine.aioquic.transport_parameters import says
from quicdist.carrier.quic.engine.own_parameters import PACED


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """``update``: after how many packets a key is updated. ``most``: after how many the connection ends,
    where it could not be. ``forgeries``: how many packets that do not authenticate, under all keys, end
    the connection."""

    update: int
    maximum: int
    forgeries: int


#: With AES-GCM, 2**23 packets may be protected with a key, and 2**28 where none is longer than 2048 bytes;
#: 2**52 may be forged (RFC 9001, section 6.6 and appendix B.1).
LONG: Final = KeyLimits(update=1 << 22, maximum=1 << 23, forgeries=1 << 52)
SHORT: Final = KeyLimits(update=1 << 27, maximum=1 << 28, forgeries=1 << 52)
#: ChaCha20-Poly1305 may protect more packets than there are numbers.
CHACHA20: Final = KeyLimits(update=1 << 62, maximum=1 << 62, forgeries=1 << 36)


class ReceiveKeys(CryptoContext):
    """The keys that open packets, with those that were in use before and those that come next."""

    def __init__(self, made: CryptoContext) -> None:
        super().__init__(made.key_phase, made._setup_cb, made._teardown_cb)
        self._previous: CryptoContext | None = None
        self._next: CryptoContext | None = None
        #: Packets that did not authenticate.
        self.forgeries = 0

    def decrypt_packet(
        self, packet: bytes, encrypted_offset: int, expected_packet_number: int
    ) -> tuple[bytes, bytes, int, bool]:
        """Open a packet; the last value says whether the next keys did."""
        if self.aead is None or self.hp is None:
            raise KeyUnavailableError("Decryption key is not available")
        header, truncated = self.hp.remove(packet, encrypted_offset)
        first = header[0]
        number = decode_packet_number(truncated, 8 * ((first & 3) + 1), expected_packet_number)
        keys: list[CryptoContext] = [self]
        if not is_long_header(first) and first >> 2 & 1 != self.key_phase:
            # Sent before an update, and late; or after one that is the peer's.
            if self._next is None:
                self._next = next_key_phase(self)
            keys = [self._next] if self._previous is None else [self._previous, self._next]
        sealed = packet[len(header) :]
        for crypto in keys:
            assert crypto.aead is not None
            try:
                return header, crypto.aead.decrypt(sealed, header, number), number, crypto is self._next
            except ValueError as error:  # aioquic's CryptoError
                failure = error
        self.forgeries += 1
        raise failure

    def advance(self, trigger: str) -> None:
        """Go on to the next keys."""
        before = CryptoContext(key_phase=self.key_phase)
        before.aead, before.hp = self.aead, self.hp
        after = self._next or next_key_phase(self)
        apply_key_phase(self, after, trigger=trigger)
        self._previous, self._next = before, None


class KeyPair(CryptoPair):
    """Both keys of an established connection."""

    recv: ReceiveKeys

    def __init__(self, made: CryptoPair) -> None:
        super().__init__()
        self.recv, self.send = ReceiveKeys(made.recv), made.send
        #: Updates that the peer began.
        self.updates_of_peer = 0

    def _update_key(self, trigger: str) -> None:
        self.recv.advance(trigger)
        apply_key_phase(self.send, next_key_phase(self.send), trigger=trigger)
        self._update_key_requested = False
        if trigger == "remote_update":
            self.updates_of_peer += 1


class _KeyUsage:
    """What is known of the keys in use. ``begun``: the number of the first packet sent with them.
    ``due``: that of the packet before which they are looked at again. ``updated``: they are not the first."""

    __slots__ = ("begun", "due", "peer_at", "updated", "updates_of_peer")

    def __init__(self) -> None:
        self.begun = self.due = 0
        self.updated = False
        self.updates_of_peer = 0
        #: The number of our next packet when the peer last updated the keys.
        self.peer_at = -1


class KeyLimited(QuicConnection):
    """A connection that keeps to the limits of its keys. ``key_limits`` may be set in tests."""

    key_limits: KeyLimits | None = None

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._key_usage = _KeyUsage()

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        self._cryptos[Epoch.ONE_RTT] = KeyPair(self._cryptos[Epoch.ONE_RTT])

    def _limits(self, pair: CryptoPair) -> KeyLimits:
        if self.key_limits is not None:
            return self.key_limits
        if pair.recv.cipher_suite is CipherSuite.CHACHA20_POLY1305_SHA256:
            return CHACHA20
        return LONG if self._follows_all else SHORT

    @property
    def _follows_all(self) -> bool:
        """Whether the peer follows more than one update. quic_dist, up to 1.8.1, follows the first; those
        after it, it tries to read with the keys before. It is sent no long packets either."""
        return says(self.tls.received_extensions or (), PACED)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Any]]:
        if self._packet_number >= self._key_usage.due:
            self._check_key_usage()
        return super().datagrams_to_send(now)

    def _check_key_usage(self) -> None:
        """Before a packet is sent: update the keys where that is due."""
        pair, usage, number = self._cryptos.get(Epoch.ONE_RTT), self._key_usage, self._packet_number
        if pair is None or not pair.send.is_valid() or not self._handshake_confirmed:
            return
        limits = self._limits(pair)
        used = number - usage.begun
        if used < limits.update:
            usage.due = usage.begun + limits.update
        elif used >= limits.maximum:
            text = "the keys are used up"
            self.close(QuicErrorCode.AEAD_LIMIT_REACHED, QuicFrameType.PADDING, text)
        elif usage.updated and not self._follows_all:
            usage.due = usage.begun + limits.maximum
        elif self._spaces[Epoch.ONE_RTT].largest_acked_packet >= usage.begun:
            # The peer has these keys: RFC 9001, section 6.1.
            self._logger.debug("Updating keys after %d packets", used)
            usage.begun, usage.due, usage.updated = number, number + limits.update, True
            self.request_key_update()

    def receive_datagram(self, data: bytes, addr: Any, now: float) -> None:
        super().receive_datagram(data, addr, now)
        pair = self._cryptos.get(Epoch.ONE_RTT)
        if isinstance(pair, KeyPair):
            if pair.recv.forgeries:
                self._forged(pair)
            if pair.updates_of_peer != self._key_usage.updates_of_peer:
                self._updated_by_peer(pair)

    def _forged(self, pair: CryptoPair) -> None:
        """A packet did not authenticate."""
        assert isinstance(pair, KeyPair)
        if pair.recv.is_valid() and pair.recv.forgeries >= self._limits(pair).forgeries:
            self.close(
                QuicErrorCode.AEAD_LIMIT_REACHED,
                QuicFrameType.PADDING,
                "too many packets did not authenticate",
            )

    def _updated_by_peer(self, pair: KeyPair) -> None:
        usage, number = self._key_usage, self._packet_number
        # It may do so again when a packet with the new keys was acknowledged (RFC 9001, section 6.2).
        if pair.updates_of_peer > usage.updates_of_peer + 1 or number == usage.peer_at:
            self.close(
                QuicErrorCode.KEY_UPDATE_ERROR,
                QuicFrameType.PADDING,
                "key update before the last one was acknowledged",
            )
        usage.updates_of_peer, usage.peer_at = pair.updates_of_peer, number
        usage.begun, usage.due, usage.updated = number, 0, True
