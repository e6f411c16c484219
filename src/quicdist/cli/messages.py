"""Messages of a connection as text: the control message with the names of its elements, and its payload."""

from __future__ import annotations

import json
from typing import Any

from quicdist import format_term
from quicdist.cli.json_terms import dumps
from quicdist.protocol import NO_PAYLOAD, UNUSED, ControlMessage, EncodedPayload, RefusedPayload
from quicdist.term import Codec

_EXACT = Codec(none=None)


def message_text(control: ControlMessage, payload: Any) -> str:
    """``REG_SEND from_pid=<a@host.85.0> to_name=echo: hello``."""
    words = [control.op.name, *(f"{name}={_written(value)}" for name, value in _elements(control))]
    text = " ".join(words)
    return text if payload is NO_PAYLOAD else f"{text}: {_payload_text(payload)}"


def message_json(control: ControlMessage, payload: Any, **more: Any) -> str:
    """The same as one line of JSON, with ``more`` members."""
    members = {**more, "op": control.op.name}
    members |= {name: json.loads(dumps(_plain(value))) for name, value in _elements(control)}
    if isinstance(payload, RefusedPayload):
        members["refused"] = str(payload.error)
    elif payload is not NO_PAYLOAD:
        members["payload"] = json.loads(dumps(_decoded(payload)))
    return json.dumps(members, ensure_ascii=False)


def _elements(control: ControlMessage) -> list[tuple[str, Any]]:
    names = getattr(control, "_fields", ())
    return [(name, value) for name, value in zip(names, control, strict=True) if value != UNUSED]


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _written(value: Any) -> str:
    return format_term(_plain(value), "~0tp", node_names=True)


def _payload_text(payload: Any) -> str:
    if isinstance(payload, RefusedPayload):
        return f"refused: {payload.error}"
    return format_term(_decoded(payload), "~0tp", node_names=True)


def _decoded(payload: Any) -> Any:
    return _EXACT.decode(payload.etf)[0] if isinstance(payload, EncodedPayload) else payload
