"""Congestion control: CUBIC (RFC 9438) with HyStart++ (RFC 9406), or Reno (RFC 9002, section 7), for paths
that also lose packets for other reasons than congestion.

Three things differ from the RFCs:

- A loss counts as congestion if the window was full and there was a queue (round trips had become longer by
  :func:`queue_threshold`), or if more than :data:`TOLERATED` of the recent packets were lost. BBRv3 tolerates
  as much. CUBIC alone moves 12 packets in a round trip if one of a hundred is lost by chance.
- The bandwidth-delay product is estimated as in BBR: the fastest recent delivery, times the shortest round
  trip. A reduction for a queue goes no lower. Up to 1.5 times that the growth of the window doubles in each
  round, from one datagram on: after a reduction without congestion CUBIC needs 10 s to 400 datagrams.
- A reduction is undone if all packets that caused it turn out to have arrived (RFC 4015 for TCP).

No I/O, no clock, no packets. Sizes are in bytes, times in seconds.
"""

from __future__ import annotations

from typing import Final, Literal

from quicdist.carrier.quic.engine.recovery.slow_start import CSS_GROWTH_DIVISOR, HyStart

#: RFC 9002, section 7.2: the initial window, also after a long pause, in datagrams, and its maximum in bytes.
INITIAL_DATAGRAMS: Final = 10
INITIAL_BYTES: Final = 14720
#: The smallest window in datagrams: RFC 9002 has 2, but a loss is noticed at once only if three later packets
#: are acknowledged (section 6.1.1). BBR keeps 4.
MINIMUM_DATAGRAMS: Final = 4

#: RFC 9438, sections 4.6 and 5.1: the multiplicative decrease factor, and C in datagrams per second cubed.
CUBIC_BETA: Final = 0.7
CUBIC_C: Final = 0.4
#: RFC 9002, section 7.3.2.
RENO_BETA: Final = 0.5

#: The number of rounds for the fastest delivery, and the multiple of the bandwidth-delay product up to which
#: the window grows fast.
RATE_ROUNDS: Final = 10
PROBE_UP_TO: Final = 1.5
#: The number of rounds after many losses in which it does not: the limit of the path is near.
AFTER_MANY: Final = 8

#: The least delay of a queue: in seconds, and as a part of the round trip.
MIN_QUEUE: Final = 0.01
QUEUE_DIVISOR: Final = 4

#: The part of the packets that may be lost without a queue, and the least number of packets for it.
TOLERATED: Final = 0.02
SHARE_OVER: Final = 300

#: The idle time after which the window is halved, in seconds (RFC 9002, section 7.8; RFC 7661).
IDLE: Final = 1.0

_NEVER: Final = float("inf")

Algorithm = Literal["cubic", "reno"]


def queue_threshold(rtt: float) -> float:
    """The increase of all round trips of a round over ``rtt`` that shows a queue. It is larger than the one
    that ends slow start: a busy machine adds milliseconds too."""
    return max(MIN_QUEUE, rtt / QUEUE_DIVISOR)


class Congestion:
    """The congestion window of one path."""

    __slots__ = (
        "_beta",
        "_cubic",
        "_cut_at",
        "_cut_lost",
        "_datagram",
        "_delivered",
        "_epoch",
        "_full_at",
        "_k",
        "_last_ack",
        "_last_sent",
        "_lost",
        "_origin",
        "_probe_limit",
        "_quiet",
        "_rates",
        "_round_at",
        "_round_end",
        "_round_rtt",
        "_round_rtt_before",
        "_saved",
        "_seen",
        "_slow_start",
        "_srtt",
        "_w_est",
        "_w_max",
        "bytes_in_flight",
        "congestion_window",
        "rounds",
        "ssthresh",
    )

    def __init__(self, datagram: int, algorithm: Algorithm = "cubic") -> None:
        self._cubic = algorithm == "cubic"
        self._beta = CUBIC_BETA if self._cubic else RENO_BETA
        self._datagram = datagram
        self.bytes_in_flight = 0
        self.congestion_window = self.initial_window
        self.ssthresh: float = _NEVER
        # -- the curve since the last reduction
        self._w_max = 0.0
        self._w_est = 0.0
        self._k = 0.0
        self._origin = 0.0
        self._epoch: float | None = None
        # -- rounds
        self._slow_start = HyStart()
        #: Rounds so far: each ends when a packet sent after the end of the last one is acknowledged.
        self.rounds = 0
        self._round_end = -1
        self._round_rtt = self._round_rtt_before = _NEVER
        self._round_at = 0.0
        self._delivered = 0
        #: The delivery rate of the last rounds, in bytes per second.
        self._rates: list[float] = []
        #: Rounds in a row in which the window was used and not reduced, and the window up to which it grows
        #: fast.
        self._quiet = 0
        self._probe_limit = 0.0
        # -- when the window was last full
        self._full_at = -_NEVER
        self._srtt = 0.0
        self._last_ack = self._last_sent = 0.0
        # -- losses
        self._seen = self._lost = 0.0
        self._cut_at = -_NEVER
        #: Packets that caused the last reduction, or were lost since, without the spurious losses.
        self._cut_lost = 0
        self._saved: tuple[float, ...] | None = None

    # -- sizes -------------------------------------------------------------------------------

    @property
    def datagram_size(self) -> int:
        return self._datagram

    @datagram_size.setter
    def datagram_size(self, size: int) -> None:
        self._datagram = size
        self.congestion_window = max(self.congestion_window, self.minimum_window)

    @property
    def initial_window(self) -> int:
        return min(INITIAL_DATAGRAMS * self._datagram, max(INITIAL_BYTES, 2 * self._datagram))

    @property
    def minimum_window(self) -> int:
        return min(MINIMUM_DATAGRAMS * self._datagram, max(INITIAL_BYTES, 2 * self._datagram))

    @property
    def available(self) -> int:
        """Bytes that may be sent now, in whole datagrams: one that begins within the window may end beyond
        it. Otherwise the rest of the window would be filled with ever smaller ones."""
        size = self._datagram
        return -(-(self.congestion_window - self.bytes_in_flight) // size) * size

    @property
    def in_slow_start(self) -> bool:
        return self.congestion_window < self.ssthresh

    @property
    def _share_over(self) -> float:
        """The number of packets for the lost part: two windows, more if they are small."""
        return max(SHARE_OVER, 2 * self.congestion_window / self._datagram)

    @property
    def round_rtt(self) -> float:
        """The shortest round trip of the last round; infinite if there was none."""
        return self._round_rtt_before

    # -- packets -----------------------------------------------------------------------------

    def on_sent(self, size: int, now: float) -> None:
        """A packet of ``size`` bytes was sent."""
        if not self.bytes_in_flight and now - self._last_sent > IDLE and self._last_sent:
            self._after_idle(now - self._last_sent)
        self._last_sent = now
        in_flight = self.bytes_in_flight = self.bytes_in_flight + size
        if in_flight + self._datagram > self.congestion_window:
            self._full_at = now

    def _after_idle(self, seconds: float) -> None:
        # The path may have changed. RFC 7661 keeps three quarters of the window as the threshold.
        window = self.congestion_window
        if window > self.initial_window:
            if self.ssthresh < _NEVER:
                self.ssthresh = max(self.ssthresh, window * 3 / 4)
            halves = min(int(seconds / IDLE), 32)
            self.congestion_window = max(self.initial_window, window >> halves)
            self._epoch = None

    def on_gone(self, size: int) -> None:
        """A packet of ``size`` bytes is no longer in flight, for any reason."""
        self.bytes_in_flight -= size

    def on_acked(
        self,
        size: int,
        packets: int,
        sent_at: float,
        now: float,
        *,
        srtt: float,
        min_rtt: float,
        largest: int,
        next_number: int,
    ) -> None:
        """``size`` bytes in ``packets`` that were in flight are acknowledged; the last was sent ``sent_at``.
        ``largest`` is the number of the largest packet acknowledged, ``next_number`` that of the next to
        be sent."""
        before = self.bytes_in_flight
        self.bytes_in_flight = before - size
        self._delivered += size
        self._seen += packets
        if self._seen > 2 * self._share_over:
            self._seen /= 2
            self._lost /= 2
        if largest >= self._round_end:
            self._round_end = next_number
            self._round_ended(now, min_rtt)
        last_ack, self._last_ack = self._last_ack, now
        window = self.congestion_window
        slow = window < self.ssthresh
        self._srtt = srtt
        if 4 * before >= (2 if slow else 3) * window:
            self._full_at = now
        elif not self._is_limiting(now):
            # A window that is not used does not grow (RFC 9002, section 7.8).
            self._quiet = 0
            if self._epoch is not None:
                self._epoch += now - last_ack
            return
        if slow:
            divisor = CSS_GROWTH_DIVISOR if self._slow_start.is_conservative else 1
            self.congestion_window = window + size // divisor
        elif sent_at > self._cut_at:
            self._avoid(size, now, srtt)

    def _is_limiting(self, now: float) -> bool:
        """Whether the window was full within two round trips."""
        return now - self._full_at <= 2 * self._srtt

    def _round_ended(self, now: float, min_rtt: float) -> None:
        self.rounds += 1
        if now > self._round_at:
            self._rates.append(self._delivered / (now - self._round_at))
            del self._rates[:-RATE_ROUNDS]
        self._round_at, self._delivered = now, 0
        self._probe_limit = PROBE_UP_TO * self._capacity(min_rtt)
        self._quiet += 1
        self._round_rtt_before, self._round_rtt = self._round_rtt, _NEVER
        if self.in_slow_start and self._slow_start.round_ended():
            self._leave_slow_start()

    def _capacity(self, min_rtt: float) -> float:
        """The bandwidth-delay product in bytes."""
        return max(self._rates, default=0.0) * min_rtt if min_rtt < _NEVER else 0.0

    def _leave_slow_start(self) -> None:
        self.ssthresh = self._w_max = self.congestion_window
        self._epoch = None
        self._slow_start = HyStart()

    def _avoid(self, size: int, now: float, srtt: float) -> None:
        """Congestion avoidance: the window grows by the cubic function or as in Reno, whichever is more."""
        window, datagram = self.congestion_window, self._datagram
        if self._epoch is None:
            self._epoch = now
            self._w_est = window
            below = max(0.0, self._w_max - window) / datagram
            self._k = (below / CUBIC_C) ** (1 / 3)
            self._origin = max(self._w_max, window)
        alpha = 3 * (1 - self._beta) / (1 + self._beta) if self._cubic and self._w_est < self._w_max else 1.0
        self._w_est += alpha * datagram * size / window
        grown = self._w_est
        if self._cubic:
            t = now - self._epoch
            if self._curve(t) >= grown:
                target = min(max(self._curve(t + srtt), window), 1.5 * window)
                grown = window + (target - window) * size / window
        if self._quiet > 1:
            step = datagram << min(self._quiet - 2, 16)
            grown = max(grown, min(window + step * size / window, self._probe_limit))
        self.congestion_window = max(window, int(grown))

    def _curve(self, t: float) -> float:
        return self._origin + CUBIC_C * float((t - self._k) ** 3) * self._datagram

    def on_rtt(self, rtt: float) -> None:
        """A round trip took ``rtt`` seconds."""
        self._round_rtt = min(self._round_rtt, rtt)
        if self.in_slow_start:
            self._slow_start.sample(rtt)

    # -- losses ------------------------------------------------------------------------------

    def on_lost(self, packets: int, sent_at: float, now: float, *, min_rtt: float) -> None:
        """``packets`` were lost, the last of them sent ``sent_at``. :meth:`on_gone` was called for them."""
        self._seen += packets
        self._lost += packets
        if sent_at <= self._cut_at:
            self._cut_lost += packets
            return  # The window was reduced for others of the same time.
        many = self._lost > TOLERATED * max(self._seen, self._share_over)
        if not many and not (self._has_queue(min_rtt) and self._is_limiting(now)):
            return
        self._save()
        self._cut_at, self._cut_lost = now, packets
        self._quiet = -AFTER_MANY if many else 0
        # These losses have had their effect.
        self._lost = self._seen = 0.0
        window = self.congestion_window
        # RFC 9438, section 4.7: fast convergence.
        self._w_max = window * (1 + self._beta) / 2 if self._cubic and window < self._w_max else window
        reduced = window * self._beta
        if not many:
            reduced = max(reduced, min(window, self._capacity(min_rtt)))
        self.ssthresh = self.congestion_window = max(int(reduced), self.minimum_window)
        self._epoch = None
        self._slow_start = HyStart()

    def _has_queue(self, min_rtt: float) -> bool:
        """Whether all packets of this round and the last one waited in a queue."""
        rtt = min(self._round_rtt, self._round_rtt_before)
        return min_rtt + queue_threshold(min_rtt) < rtt < _NEVER

    def on_persistent_congestion(self) -> None:
        """There is persistent congestion (RFC 9002, section 7.6.2)."""
        self.congestion_window = self.minimum_window
        self._epoch = None
        self._quiet = 0

    def _save(self) -> None:
        self._saved = self.congestion_window, self.ssthresh, self._w_max

    def on_spurious(self, packets: int, lost_at: float) -> None:
        """``packets`` that were reported as lost at ``lost_at`` have arrived."""
        self._lost = max(0.0, self._lost - packets)
        if lost_at < self._cut_at or self._saved is None:
            return
        self._cut_lost -= packets
        if self._cut_lost <= 0:
            window, ssthresh, w_max = self._saved
            self._saved = None
            self._cut_at = -_NEVER
            self.congestion_window = max(self.congestion_window, int(window))
            self.ssthresh, self._w_max = max(self.ssthresh, ssthresh), w_max
            self._epoch = None
