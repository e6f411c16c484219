"""Common parts of the fuzzers: duration, seed, and the report of a finding."""

from __future__ import annotations

import argparse
import hashlib
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

#: Printed characters of an input; a file has all of it.
_SHOWN = 400


class Finding(Exception):
    """An input for which the code under test misbehaved."""


class Fuzzed(Protocol):
    """A fuzzer with its seed."""

    #: The code under test, for the output.
    subject: str
    #: The number of inputs so far.
    inputs: int

    def step(self) -> None:
        """Make one input, run it and check the result. Raises :class:`Finding`."""

    def summary(self) -> str:
        """The results so far, in a few words."""

    def last_input(self) -> bytes:
        """The last input, as the corpus keeps it."""


def run(fuzzer: Fuzzed, seconds: float, seed: int, *, every: float = 10.0) -> int:
    """Fuzz for ``seconds`` and print the progress. Returns 0, or 1 after printing a finding."""
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
    """The stored inputs of a directory, by name."""
    for path in sorted(directory.glob("*.json")):
        yield path.name, path.read_bytes()
