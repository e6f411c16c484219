"""``python -m quicdist`` is the command ``quicdist``."""

from quicdist.cli import main

main(prog_name="quicdist")
