"""The private names of aioquic that the engine uses: all of them, and no others.

A release of aioquic that renames one, or gives a method other parameters, fails here by that name.
"""

from __future__ import annotations

import ast
import functools
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from aioquic import _crypto, tls
from aioquic.quic import connection, crypto, packet_builder, recovery, stream

from quicdist.carrier.quic.engine import aioquic as package
from tests.support.imports import MODULES as MODULES_OF_OURS
from tests.test_layers import is_engine

MODULES: tuple[ModuleType, ...] = (_crypto, connection, crypto, packet_builder, recovery, stream, tls)

#: Class to its attributes, and its methods with their parameters.
USED = {
    "QuicConnection": """
        _QuicConnection__frame_handlers _ack_delay _ack_eliciting_sent_since_receipt _close_at _close_event
        _close_pending _crypto_buffers _crypto_streams _cryptos _cryptos_initial _datagrams_pending _events
        _handshake_confirmed _handshake_done_pending _host_cids _is_client _local_ack_delay_exponent
        _local_initial_source_connection_id _local_max_data _local_max_stream_data_bidi_remote
        _local_max_stream_data_uni _local_max_streams_bidi _local_max_streams_uni _logger _loss _loss_at
        _max_datagram_size _network_paths _pacing_at _packet_number _peer_cid _peer_cid_available
        _ping_pending _probe_pending _quic_logger _remote_ack_delay_exponent _remote_max_data
        _remote_max_data_used _remote_max_stream_data_bidi_local _remote_max_streams_bidi
        _remote_preferred_address _retire_connection_ids _retry_count _retry_source_connection_id
        _session_ticket_fetcher _session_ticket_handler _spaces _spin_bit _spin_highest_pn _state _streams
        _streams_blocked_bidi _streams_blocked_pending _streams_blocked_uni _streams_queue _token_handler
        _version _remote_max_idle_timeout
        _confirm_handshake()
        _find_network_path(addr)
        _flush_builder(builder, network_path, peer_cid, now)
        _get_or_create_stream(frame_type, stream_id)
        _get_or_create_stream_for_send(stream_id)
        _handle_reset_stream_frame(context, frame_type, buf)
        _handle_retire_connection_id_frame(context, frame_type, buf)
        _handle_stop_sending_frame(context, frame_type, buf)
        _handle_stream_frame(context, frame_type, buf)
        _idle_timeout()
        _initialize(peer_cid)
        _on_ack_delivery(delivery, space, highest_acked)
        _on_max_stream_data_delivery(delivery, stream)
        _on_ping_delivery(delivery, uids)
        _payload_received(context, plain, crypto_frame_required)
        _push_crypto_data()
        _receive_retry_packet(header, packet_without_tag, now)
        _replenish_connection_ids()
        _send_probe()
        _serialize_transport_parameters()
        _stream_is_discarded(stream_id)
        _stream_limit(stream_id)
        _write_ack_frame(builder, space, now)
        _write_connection_limits(builder, space)
        _write_new_connection_id_frame(builder, connection_id)
        _write_stream_limits(builder, space, stream)
    """,
    "QuicStreamSender": """
        _acked _acked_fin _buffer _buffer_fin _buffer_start _buffer_stop _pending _pending_eof
        _reset_error_code _stream_id
    """,
    "QuicStreamReceiver": """
        _buffer_start _final_size _stream_id
    """,
    "QuicPacketRecovery": """
        _pacer
    """,
    "QuicPacketBuilder": """
        _datagram_needs_padding
    """,
    "CryptoContext": """
        _setup_cb _teardown_cb
    """,
    "CryptoPair": """
        _update_key_requested
        _update_key(trigger)
    """,
    "AEAD": """
        _aead _iv
    """,
    "HeaderProtection": """
        _encryptor _is_chacha20
        _mask(sample)
    """,
    "Context": """
        _is_client _peer_certificate _peer_certificate_chain _request_client_certificate _session_resumed
        _signature_algorithms
        _client_handle_certificate(input_buf)
        _client_handle_certificate_verify(input_buf)
        _client_handle_hello(input_buf, output_buf)
        _server_expect_finished()
        _server_handle_certificate(input_buf)
        _server_handle_certificate_verify(input_buf)
        _server_handle_hello(input_buf, initial_buf, handshake_buf)
        _signature_algorithms_for_private_key()
    """,
}


def _entries(names: str) -> list[str]:
    """The methods in ``names``, one a line, and the attributes."""
    lines = [line.strip() for line in names.splitlines()]
    methods = [line for line in lines if "(" in line]
    return methods + " ".join(line for line in lines if "(" not in line).split()


NAMES = [(owner, name) for owner, names in USED.items() for name in _entries(names)]


def _class(name: str) -> Any:
    (found,) = {getattr(module, name) for module in MODULES if hasattr(module, name)}
    return found


def _mangled(owner: str, name: str) -> str:
    return f"_{owner}{name}" if name.startswith("__") else name


@functools.cache
def _attributes(owner: str) -> set[str]:
    """What the methods of a class assign to ``self``."""
    tree = ast.parse(inspect.getsource(_class(owner)))
    return {
        _mangled(owner, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and ast.unparse(node.value) == "self"
    }


@pytest.mark.parametrize(("owner", "name"), NAMES)
def test_a_private_name_is_there_as_it_is_used(owner: str, name: str) -> None:
    method, is_method, parameters = name.partition("(")
    if is_method:
        found = list(inspect.signature(getattr(_class(owner), method)).parameters)[1:]
        assert found == [each for each in parameters.rstrip(")").split(", ") if each]
    else:
        assert name in _attributes(owner)


def _private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def test_the_engine_uses_no_other_private_name_of_aioquic() -> None:
    theirs = {
        _mangled(node.name, name)
        for path in Path(inspect.getfile(connection)).parent.parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        for name in _names(node)
    }
    ours = {
        name
        for path in Path(inspect.getfile(package)).parent.glob("*.py")
        for name in _names(ast.parse(path.read_text()), uses=True)
    }
    assert ours & theirs == {name.partition("(")[0] for _, name in NAMES}


def test_nothing_above_the_engine_uses_a_private_name_of_aioquic() -> None:
    above = {module: tree for module, (_, tree) in MODULES_OF_OURS.items() if not is_engine(module)}
    # Names that classes above have themselves say nothing; ``tests/test_layers.py`` checks these.
    own = set().union(*(_names(tree) for tree in above.values()))
    used = {name.partition("(")[0] for _, name in NAMES} - own
    found = [
        f"{module}:{node.lineno} {ast.unparse(node)}"
        for module, tree in above.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in used
    ]
    assert len(used) > 80
    assert found == []


def _names(tree: ast.AST, *, uses: bool = False) -> set[str]:
    """The private names of attributes and methods that a class defines, or that a module uses too."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name, ctx=ctx) if uses or isinstance(ctx, ast.Store):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
    return {name for name in found if _private(name)}
