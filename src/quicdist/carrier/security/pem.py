"""The type of options that hold PEM. Importing this module loads no cryptography."""

from __future__ import annotations

import os

#: Certificates or a private key: the path of a PEM file, or its content as bytes.
Pem = str | os.PathLike[str] | bytes
