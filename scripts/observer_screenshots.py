"""Makes the screenshots of ``docs/how-to/observing.md``: the observer, pointed at ``examples/shop_node.py``.

``make screenshots`` runs it. It needs OTP's ``observer`` and ``wx``, ``Xvfb``, and ImageMagick.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.beam import tcp_args
from tests.support.epmd import private_epmd
from tests.support.observer import Observer, beam_with_display, virtual_display, what_is_missing

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs" / "how-to"
NAME, COOKIE = "shop@127.0.0.1", "secret"
#: Seconds until GTK has drawn.
DRAWN = 1.0
#: Samples of the load charts, two a second.
SAMPLES = 55
#: The largest picture, in bytes.
MAX_SIZE = 100_000


async def pictures(observer: Observer, display: str) -> None:
    """Take one picture after the other."""
    await observer.open()
    await observer.show("Load Charts", SAMPLES)
    await take(display, "load-charts")
    for title in ("System", "Applications", "Processes", "Ports"):
        await observer.show(title)
        await take(display, title.lower())
    await observer.show_process("orders", 4)
    await take(display, "process")


async def take(display: str, name: str) -> None:
    """A picture of the whole screen, which the observer fills."""
    await asyncio.sleep(DRAWN)
    file = DOCS / f"observer-{name}.png"
    few_colours = ["+dither", "-colors", "32", "-strip", f"PNG8:{file}"]
    grab = ["import", "-display", display, "-window", "root", *few_colours]
    await asyncio.to_thread(subprocess.run, grab, check=True)
    size = file.stat().st_size
    print(f"{file.relative_to(ROOT)}: {size} bytes")
    if size > MAX_SIZE:
        raise SystemExit(f"{file} has more than {MAX_SIZE} bytes")


def main() -> None:
    missing = what_is_missing()
    if missing is None and shutil.which("import") is None:
        missing = "there is no ImageMagick (import) on this machine"
    if missing is not None:
        raise SystemExit(f"no screenshots: {missing}")
    shop = [sys.executable, str(ROOT / "examples" / "shop_node.py"), "--name", NAME, "--cookie", COOKIE]
    with (
        private_epmd(),
        tempfile.TemporaryDirectory() as config,
        virtual_display() as display,
        subprocess.Popen(shop, stdout=subprocess.PIPE, text=True) as node,
    ):
        try:
            assert node.stdout is not None
            print(node.stdout.readline(), end="")
            args = tcp_args("me@127.0.0.1", COOKIE, hidden=True)
            with beam_with_display(args, display, config) as beam:
                asyncio.run(pictures(Observer(beam, NAME), display))
        finally:
            node.terminate()


if __name__ == "__main__":
    main()
