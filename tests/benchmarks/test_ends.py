"""The processes of the benchmark run, with a few messages; no figure is checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import crowd, idle, memory, mixed, start
from benchmarks.rows import LARGE, ROWS, SMALL, measure
from benchmarks.sides import Machine, Sides


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def use(sides: Sides) -> None:
    for side in sides:
        assert side("echo", SMALL, 3) > 0
        assert side("push", SMALL, 50) > 0
        assert side("push", LARGE, 1) > 0


def test_two_nodes_and_bare_aioquic_exchange_messages(machine: Machine) -> None:
    with machine.against_aioquic() as sides:
        use(sides)


def test_the_memory_row_sends_a_stream(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "FIRST", 1)
    monkeypatch.setattr(memory, "STREAM", 2)
    assert memory.run(machine).ratio


def test_the_crowd_row_answers_all_pings(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "NODES", 4)
    monkeypatch.setattr(crowd, "SECONDS", 1)
    result = crowd.run(machine)
    assert not result.broken
    assert "0 not, 0 links lost" in result.notes[0]


def test_the_idle_row_measures_both_sides(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "CONNECTIONS", 1)
    monkeypatch.setattr(idle, "ROUNDS", 2)
    monkeypatch.setattr(idle, "SETTLED", 0.0)
    assert "the accepting side" in idle.run(machine).notes[0]


def test_the_start_rows_import_and_ping(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "ROUNDS", 1)
    assert start.run_import(machine).ratio
    assert start.run_ping(machine).ratio


@pytest.mark.beam
def test_two_beams_and_a_node_exchange_messages_over_tcp(machine: Machine) -> None:
    with machine.against_tcp_beams() as sides:
        use(sides)
        for side in sides:
            assert side("pull", SMALL, 50) > 0
            assert side("maps", SMALL, 50) > 0
        ours, _ = sides
        assert ours("mailbox", SMALL, 50) > 0


@pytest.mark.beam
def test_an_erlang_port_echoes_terms_and_bytes(machine: Machine) -> None:
    with machine.against_a_port() as (_, peer):
        assert peer("echo", SMALL, 3) > 0
        assert peer("bytes", SMALL, 3) > 0


@pytest.mark.beam
def test_a_node_and_a_beam_receive_by_a_new_reference(machine: Machine) -> None:
    with machine.asking_a_tcp_beam() as sides:
        for side in sides:
            assert side("receive", SMALL, 3) > 0


@pytest.mark.quic_dist
def test_two_beams_and_a_node_exchange_messages_over_quic_dist(machine: Machine) -> None:
    with machine.with_quic_beam() as sides:
        for side in sides:
            assert side("echo", SMALL, 3) > 0
            assert side("push", SMALL, 50) > 0
            assert side("pull", SMALL, 50) > 0
            assert side("bulk_out", LARGE, 1) > 0
            assert side("bulk_in", LARGE, 1) > 0


@pytest.mark.quic_dist
def test_the_mixed_rows_transfer_and_call(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixed, "ROUNDS", 1)
    monkeypatch.setattr(mixed, "SECONDS", 0.1)
    assert mixed.run_bulk(machine).ratio
    assert mixed.run_calls(machine).ratio


def test_a_row_without_its_peer_is_skipped(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.sides.tcp_erl", lambda: None)
    row = next(row for row in ROWS if row.goal.key == "tcp-echo")
    assert measure(row, machine).skipped == "no erl found"
