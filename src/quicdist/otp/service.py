"""A server that belongs to the node itself."""

from __future__ import annotations

from quicdist.otp.gen_server import GenServer


class Service(GenServer):
    """A server of the node, see :class:`~quicdist.otp.keeper.Keeper`. Others may look at it by ``sys``,
    but not hold, change or end it."""
