"""What the fuzzers share: how long they run, from which seed, and how they say what they found."""

from __future__ import annotations

import argparse
import hashlib
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

#: Characters of an input that are shown; all of it is in a file.
_SHOWN = 400


class Finding(Exception):
    """An input on which the code under test did what it must not."""


class Fuzzed(Protocol):
    """A fuzzer that a seed was given to."""

    #: What it runs on, for its lines.
    subject: str
    #: How many inputs there were.
    inputs: int

    def step(self) -> None:
        """Make one input and check what becomes of it. Raises :class:`Finding`."""

    def summary(self) -> str:
        """What came of the inputs so far, in a few words."""

    def last_input(self) -> bytes:
        """The last input, as the corpus keeps it."""


def run(fuzzer: Fuzzed, seconds: float, seed: int, *, every: float = 10.0) -> int:
    """Fuzz for so long, saying how it goes; 0, or 1 for a finding, which is the last that is said."""
    print(f"fuzzing {fuzzer.subject} for {seconds:.0f} s, seed {seed}", flush=True)
    start = said = time.monotonic()
    while True:
        try:
            fuzzer.step()
        except Finding as finding:
            told(fuzzer, seed, finding)
            return 1
        now = time.monotonic()
        over = now - start >= seconds
        if over or now - said >= every:
            said = now
            print(f"{now - start:6.0f} s: {fuzzer.inputs} inputs, {fuzzer.summary()}", flush=True)
        if over:
            return 0


def told(fuzzer: Fuzzed, seed: int, finding: Finding) -> None:
    """Say what was found: the input in a file, its beginning, and in the last line what is wrong."""
    data = fuzzer.last_input()
    name = f"finding-{hashlib.sha256(data).hexdigest()[:12]}"
    path = Path(tempfile.gettempdir()) / name
    path.write_bytes(data)
    more = f" ... ({len(data)} bytes)" if len(data) * 2 > _SHOWN else ""
    print(f"the input, which is in {path}: {data.hex()[:_SHOWN]}{more}")
    text = str(finding).strip().replace("\n", "\n    ")
    print(f"FOUND in {fuzzer.subject}, seed {seed}, input {fuzzer.inputs}: {text}", flush=True)


def main(make: Callable[[int], Fuzzed], description: str) -> int:
    """The command of a fuzzer: ``--seconds N``, ``--seed N``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    return run(make(seed), options.seconds, seed)


def corpus(directory: Path) -> Iterator[tuple[str, bytes]]:
    """The inputs that are kept in a directory, by their names."""
    for path in sorted(directory.glob("*.json")):
        yield path.name, path.read_bytes()
