"""For tests of programs that use quicdist: a fake BEAM, and a real one. The pytest plugin has fixtures of
both."""

from quicdist.testing.answers import Answer
from quicdist.testing.fake_beam import FakeBeam, FakeServer, Received
from quicdist.testing.real_beam import Beam, BeamError

__all__ = ["Answer", "Beam", "BeamError", "FakeBeam", "FakeServer", "Received"]
