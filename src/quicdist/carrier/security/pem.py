"""The type of options that hold PEM. Importing it loads no cryptography."""

from __future__ import annotations

import os

#: Certificates or a private key: the path of a PEM file, or as bytes what would stand in it.
Pem = str | os.PathLike[str] | bytes
