"""Priorities of user streams, as in quic_dist: 16 is served first, 255 last."""

from __future__ import annotations

from typing import Final

#: The range of priorities: what is below is the distribution's own.
MIN_PRIORITY: Final = 16
MAX_PRIORITY: Final = 255
#: The priority of a user stream that is opened without one.
DEFAULT_PRIORITY: Final = 128
