"""The examples of how-to/certificates.md and reference/security.md work; the tests they name exist."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, ClassVar

import pytest

import quicdist
from quicdist import ExternalPsk, Node

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGE = (DOCS / "how-to" / "certificates.md").read_text() + (DOCS / "reference" / "security.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


async def cluster(*nodes: dict[str, Any]) -> None:
    """The first listens, the second dials it."""
    there, here = nodes
    async with Node("b@127.0.0.1", host="127.0.0.1", port=0, **there) as b:
        table = {"b@127.0.0.1": ("127.0.0.1", b.addresses[0].port)}
        async with Node("a@127.0.0.1", nodes=table, listen=False, **here) as a:
            assert await a.ping("b@127.0.0.1")


@pytest.fixture
def made_by_openssl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory holds what the page has openssl make, and its sys.config."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl on this machine")
    (commands,) = blocks("sh")
    subprocess.run(["sh", "-e", "-c", commands], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "sys.config").write_text(blocks("erlang")[0])
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("made_by_openssl")
async def test_a_ca_made_with_openssl(monkeypatch: pytest.MonkeyPatch) -> None:
    options = run(blocks("python")[0], monkeypatch)
    await cluster(options, options)


@pytest.mark.usefixtures("made_by_openssl")
async def test_the_configuration_of_a_cluster() -> None:
    options = {"cookie": "secret", "config": "sys.config"}
    await cluster(options, options)


class Recorded(Node):
    """A node that remembers its options."""

    options: ClassVar[dict[str, Any]] = {}

    def __init__(self, name: str, **options: Any) -> None:
        Recorded.options = options
        super().__init__(name, **options)


def run(source: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The options of the node that a block of the page makes."""
    with monkeypatch.context() as patch:
        patch.setattr(quicdist, "Node", Recorded)
        exec(compile(source, "docs/reference/security.md", "exec"), {})
    return Recorded.options


async def test_nodes_with_the_psks_of_the_page_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    options = run(blocks("python")[1], monkeypatch)
    await cluster(options, options)


async def test_nodes_with_the_auth_callback_of_the_page_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    options = run(blocks("python")[2], monkeypatch)
    secret = bytes(range(32))
    one, two = (
        {**options, "quic": {**options["quic"], **psk}}
        for psk in ({"psks": {b"one": secret}}, {"external_psk": ExternalPsk(b"one", secret)})
    )
    await cluster(one, two)


def test_connect_options(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(blocks("python")[3], monkeypatch) == {"cookie": "secret"}


def test_the_tests_it_names_exist() -> None:
    table = PAGE.partition("## What quic_dist does")[2]
    named = set(re.findall(r"`(test_\w+)`", table))
    assert len(named) > 8
    source = "".join(path.read_text() for path in (ROOT / "tests" / "carrier").glob("test_quic*.py"))
    assert [name for name in named if f"def {name}(" not in source] == []
