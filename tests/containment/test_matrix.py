"""Every place where a program's code runs, times everything that it can do wrong.

A fault ends the process that it happens in, or answers the call, with a reason that an Erlang shell
prints readably, and touches nothing else: see :meth:`Lab.check`. One test runs all faults of a place,
for there are thousands of cases.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containment import in_exports, in_nodes, in_processes, in_servers  # noqa: F401 - they add places
from tests.containment.faults import ALL
from tests.containment.lab import Lab, quiet
from tests.containment.places import PLACES, Place
from tests.support.pairs import CARRIERS


@pytest.fixture(scope="module", params=CARRIERS)
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab(request.param, Path(tmp_path_factory.mktemp("lab")))
    with quiet():
        made.run(made.start())
        yield made
        made.run(made.stop())
        made.close()


@pytest.mark.parametrize("place", [pytest.param(place, id=name) for name, place in PLACES.items()])
def test_faults_in(place: Place, lab: Lab) -> None:
    if lab.carrier not in place.carriers:
        pytest.skip(f"not over {lab.carrier}")
    failed = []
    for fault in filter(place.takes, ALL):
        try:
            reason = lab.run(lab.case(place.run(lab, fault)))
            assert reason is None or fault.matches(reason), reason
        except (Exception, SystemExit) as error:
            failed.append(error)
            error.add_note(f"the fault was: {fault.name}")
            lab.run(lab.anew())
    if failed:
        raise BaseExceptionGroup(place.name, failed)
