"""The pytest plugin in runs of pytest of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from quicdist.testing import Beam, BeamError

pytest_plugins = ["pytester"]

PLUGIN = ("-p", "quicdist.pytest_plugin", "-p", "no:xdist", "-p", "no:cacheprovider")

TESTS = """
    import asyncio
    import pytest
    import quicdist
    from quicdist import Atom, sync

    def test_sync_node(quicdist_node):
        assert isinstance(quicdist_node, sync.Node)
        quicdist_node.export("py", "one")(lambda: 1)
        assert quicdist_node.call(quicdist_node.name, "py", "one") == 1

    @pytest.mark.asyncio
    async def test_async_node(quicdist_node):
        assert isinstance(quicdist_node, quicdist.Node)
        assert await quicdist_node.ping(quicdist_node.name)

    def test_sync_pair(quicdist_pair):
        one, two = quicdist_pair
        assert one.ping(two.name)

    def test_sync_pair_the_other_way(quicdist_pair):
        one, two = quicdist_pair
        assert two.ping(one.name)

    @pytest.mark.asyncio
    @pytest.mark.quicdist(carrier="quic")
    async def test_async_pair_over_quic(quicdist_pair):
        one, two = quicdist_pair
        assert await one.ping(two.name)
        assert "quic" in repr(one)

    @pytest.mark.asyncio
    async def test_fake_beam_in_a_coroutine(fake_beam, quicdist_node):
        fake_beam.function("stock", "count", 1).returns(5)
        assert await quicdist_node.call(fake_beam.name, "stock", "count", ["apple"]) == 5
        quicdist_node.gen_server_cast(("log", fake_beam.name), "lost")  # no server of that name
        fake_beam.server("log")
        quicdist_node.gen_server_cast(("log", fake_beam.name), "hello")
        await fake_beam.wait_for_async(b"hello", to="log")

    @pytest.mark.quicdist(cookie="other")
    def test_fake_beam_and_its_options(fake_beam):
        with sync.Node("mine@127.0.0.1", **fake_beam.options) as node:
            assert node.ping(fake_beam.name)
"""


def test_the_fixtures_work_in_plain_functions_and_in_coroutines(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS)
    done = pytester.runpytest_subprocess(*PLUGIN, "--strict-markers")
    assert done.parseoutcomes() == {"passed": 7}
    assert done.ret == 0


def test_a_coroutine_without_pytest_asyncio_is_told_what_is_missing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("async def test_it(quicdist_node): assert False")
    done = pytester.runpytest_subprocess(*PLUGIN, "-p", "no:asyncio")
    assert "quicdist_node in a coroutine function needs pytest-asyncio" in done.stdout.str()


def test_a_beam_is_skipped_where_there_is_no_erl(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(pytester.path))
    monkeypatch.delenv("QUICDIST_ERL", raising=False)
    pytester.makepyfile("def test_it(beam): assert False")
    done = pytester.runpytest_subprocess(*PLUGIN, "-rs")
    assert done.parseoutcomes() == {"skipped": 1}
    assert "needs a BEAM: there is no erl" in done.stdout.str()


def test_an_erl_that_cannot_be_run_is_a_beam_error() -> None:
    with pytest.raises(BeamError, match="cannot run /no/such/erl: No such file or directory"):
        Beam(erl="/no/such/erl").start()


def test_a_mark_without_names_is_told_that_it_needs_them(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.quicdist('quic')\ndef test_it(quicdist_node): pass")
    done = pytester.runpytest_subprocess(*PLUGIN)
    assert done.parseoutcomes() == {"errors": 1}
    assert "the mark quicdist has options by name, not ('quic',)" in done.stdout.str()


@pytest.mark.beam
def test_a_beam_answers_in_plain_functions_and_in_coroutines(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from quicdist import Atom, RemoteError, sync
        from quicdist.testing import BeamError

        def test_eval(beam):
            assert beam.eval("X = lists:seq(1, 3), lists:sum(X)") == 6
            with pytest.raises(BeamError, match="cannot parse"):
                beam.eval("1 +")
            with pytest.raises(RemoteError, match="badarith"):
                beam.eval("1 / 0")

        def test_a_program_connects(beam):
            with sync.Node("mine@127.0.0.1", **beam.options) as node:
                assert node.call(beam.name, "lists", "reverse", [[1, 2]]) == [2, 1]
                node.export("py", "add")(lambda one, two: one + two)
                assert beam.eval("erpc:call('mine@127.0.0.1', py, add, [1, 2])") == 3

        @pytest.mark.asyncio
        async def test_it_in_a_coroutine(beam):
            from quicdist import Node
            async with Node("other@127.0.0.1", **beam.options) as node:
                assert await node.ping(beam.name)
        """
    )
    done = pytester.runpytest_subprocess(*PLUGIN)
    assert done.parseoutcomes() == {"passed": 3}


def test_the_plugin_loads_nothing_of_quicdist_until_a_fixture_is_used(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\n"
        "def test_it():\n"
        "    loaded = {name for name in sys.modules if name.split('.')[0] == 'quicdist'}\n"
        "    plugin = {'quicdist.pytest_plugin', 'quicdist.pytest_asyncio_fixtures'}\n"
        "    assert loaded - plugin == {'quicdist', 'quicdist.lazy'}\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", *PLUGIN, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_the_tests_of_the_page_pass(pytester: pytest.Pytester) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "testing.md"
    program, tests, *_ = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    pytester.makepyfile(stock=program, test_stock=tests)
    assert pytester.runpytest_subprocess(*PLUGIN).parseoutcomes() == {"passed": 2}
