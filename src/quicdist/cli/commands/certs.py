"""``quicdist certs``."""

from __future__ import annotations

from pathlib import Path

import click

from quicdist.cli.options import json_option
from quicdist.cli.session import errors_end, fail, progress


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--host",
    "hosts",
    multiple=True,
    default=("localhost", "127.0.0.1", "::1"),
    show_default=True,
    help="Host name or IP address the certificate is for; can be given several times.",
)
@click.option("--force", is_flag=True, help="Replace the files that are there.")
@json_option
def certs(directory: Path, hosts: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Make a development CA, a node certificate and its key in DIR."""
    import quicdist

    there = [path.name for path in directory.glob("*.pem")] if directory.is_dir() else []
    if there and not force:
        fail(f"{directory} holds {', '.join(sorted(there))} already; --force replaces them")
    with errors_end(), progress("making keys"):
        files = quicdist.make_development_certificates(directory, hosts)
    if as_json:
        import json

        made = {"ca": str(files.ca), "cert": str(files.cert), "key": str(files.key), "hosts": hosts}
        click.echo(json.dumps({**made, "sha256": files.fingerprint}))
        return
    click.echo(f"CA           {files.ca}")
    click.echo(f"certificate  {files.cert}  for {', '.join(hosts)}")
    click.echo(f"key          {files.key}")
    click.echo(f"SHA-256      {files.fingerprint}")
