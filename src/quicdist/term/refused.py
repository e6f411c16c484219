"""Why a term cannot be written: inside the encoder only."""

from __future__ import annotations


class Refused(Exception):
    """Why a term cannot be written; where it stands is found out afterwards."""
