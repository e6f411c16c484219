"""The part on Elixir of docs/reference/configuration.md does what it says."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from quicdist import Atom, Node, make_development_certificates, read_config
from quicdist.carrier import Address
from tests.support.beam import elixir_path
from tests.support.programs import running_program

SECTION = (
    (Path(__file__).parents[2] / "docs" / "reference" / "configuration.md")
    .read_text()
    .partition("\n## Elixir\n")[2]
    .partition("\n## ")[0]
)
CONFIG, SESSION = re.findall(r"```elixir\n(.*?)```", SECTION, re.DOTALL)
(COMMAND,) = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)
PROMPT = re.compile(r"^iex> (?P<source>.*)\n(?P<value>.*)\n", re.MULTILINE)


@pytest.mark.elixir
@pytest.mark.quic_dist
async def test_iex(tmp_path: Path, free_port: Callable[[], int]) -> None:
    """The command, the configuration and the session, with ports and paths of this test's own."""
    files = make_development_certificates(tmp_path / "certs")
    own = {"4501": str(free_port()), "4503": str(free_port()), "certs/": f"{tmp_path}/certs/"}

    def with_own(text: str) -> str:
        return re.sub("|".join(own), lambda match: own[match[0]], text)

    (tmp_path / "config.exs").write_text(with_own(CONFIG))
    iex, *options = shlex.split(with_own(COMMAND))
    assert (iex, options[-2:]) == ("iex", ["-S", "mix"])
    prompts = [(match["source"], match["value"]) for match in PROMPT.finditer(SESSION)]
    assert len(prompts) == SESSION.count("iex>")
    # What Mix does, before a program runs, with what stands in config.exs.
    lines = [
        f'for {{app, all}} <- Config.Reader.read!("{tmp_path}/config.exs"),'
        " {key, value} <- all, do: Application.put_env(app, key, value)",
        "{:ok, _} = Application.ensure_all_started(:quic)",
        *(f'IO.puts("=> #{{inspect({source}, width: 1000)}}")' for source, _ in prompts),
    ]
    script = tmp_path / "script.exs"
    script.write_text("\n".join(lines))
    async with Node(
        "py@127.0.0.1",
        cookie="secret",
        host="127.0.0.1",
        port=int(own["4503"]),
        cert=files.cert,
        key=files.key,
        verify=False,
    ) as node:
        node.export("py", "double")(lambda number: 2 * number)
        elixir_script = str(elixir_path()), *options[:-2], str(script)
        async with running_program(*elixir_script, stdout=asyncio.subprocess.PIPE) as script_run:
            async with asyncio.timeout(60):
                printed, _ = await script_run.communicate()
    # Among what quic_dist logs.
    assert re.findall(r"^=> (.*)$", printed.decode(), re.MULTILINE) == [value for _, value in prompts]


@pytest.mark.elixir
@pytest.mark.beam
def test_a_release(tmp_path: Path) -> None:
    """``sys.config`` as ``mix release`` writes it, with all that it adds."""
    (tmp_path / "config.exs").write_text(CONFIG)
    source = (
        f'config = Config.Reader.read!("{tmp_path}/config.exs");'
        f' release = %Mix.Release{{name: :my_app, version: "0.1.0", path: "{tmp_path}",'
        f' version_path: "{tmp_path}", applications: %{{}}, erts_version: "0", options: [], config_providers:'
        ' [{Config.Reader, path: {:system, "RELEASE_ROOT", "/releases/0.1.0/runtime.exs"}}]};'
        f' :ok = Mix.Release.make_sys_config(release, config, "{tmp_path}/tmp")'
    )
    subprocess.run([str(elixir_path()), "-e", source], check=True, capture_output=True, timeout=60)
    found = read_config(tmp_path / "sys.config", environ={})
    assert found.unsupported == ()
    assert (found.dist_port, found.cert_file) == (4501, Path("certs/cert.pem"))
    assert found.nodes == {
        "a@127.0.0.1": Address("127.0.0.1", 4501),
        "py@127.0.0.1": Address("127.0.0.1", 4503),
    }
    assert found.discovery_module == str(Atom("quic_discovery_static"))
