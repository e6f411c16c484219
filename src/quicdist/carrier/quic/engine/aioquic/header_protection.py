"""The masks of header protection for many packets (RFC 9001, section 5.4), in one call of the cipher where it
is AES. aioquic makes one mask at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aioquic._crypto import HeaderProtection

#: The length of a sample, which is a block of AES, in bytes.
SAMPLE: Final = 16


def masks(protection: HeaderProtection, samples: Sequence[bytes]) -> list[bytes]:
    """A mask for each sample."""
    if protection._is_chacha20:
        return [protection._mask(sample) for sample in samples]
    # Electronic codebook: each block is encrypted by itself.
    blocks = protection._encryptor.update(b"".join(samples))
    return [blocks[at : at + SAMPLE] for at in range(0, len(blocks), SAMPLE)]
