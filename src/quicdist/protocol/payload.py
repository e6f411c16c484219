"""The payload of a control message that has none."""

from __future__ import annotations

from enum import Enum
from typing import Final


class NoPayload(Enum):
    """The type of :data:`NO_PAYLOAD`."""

    NO_PAYLOAD = "NO_PAYLOAD"

    def __repr__(self) -> str:
        return self.value


#: Stands where no payload follows the control message. No term is equal to it.
NO_PAYLOAD: Final = NoPayload.NO_PAYLOAD
