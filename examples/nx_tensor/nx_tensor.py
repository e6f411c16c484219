"""Tensors of Nx as NumPy arrays, and back, by their binary layout: see README.md."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quicdist import Atom

NIL = Atom("nil")
_STRUCT, _DATA, _STATE = Atom("__struct__"), Atom("data"), Atom("state")
_TYPE, _SHAPE, _NAMES, _AXES = Atom("type"), Atom("shape"), Atom("names"), Atom("vectorized_axes")
TENSOR, BINARY_BACKEND = Atom("Elixir.Nx.Tensor"), Atom("Elixir.Nx.BinaryBackend")

#: Nx's type to NumPy's kind. bf16 has none in NumPy.
_KINDS = {"s": "i", "u": "u", "f": "f", "c": "c"}


def dtype_of(type_: tuple[Atom, int]) -> np.dtype[Any]:
    """NumPy's type for Nx's, such as ``{f, 32}``: Nx's binaries are in the byte order of their machine, which
    is taken to be little-endian. Raises TypeError for a type that NumPy lacks."""
    kind, bits = type_
    if kind.name not in _KINDS or bits % 8:
        raise TypeError(f"NumPy has no type for Nx's {{{kind}, {bits}}}")
    return np.dtype(f"<{_KINDS[kind.name]}{bits // 8}")


def type_of(dtype: np.dtype[Any]) -> tuple[Atom, int]:
    """Nx's type for NumPy's. Raises TypeError for one that Nx lacks."""
    for kind, letter in _KINDS.items():
        if dtype.kind == letter:
            return Atom(kind), 8 * dtype.itemsize
    raise TypeError(f"Nx has no type for NumPy's {dtype}")


def to_tensor(array: NDArray[Any], names: tuple[str | None, ...] | None = None) -> dict[Any, Any]:
    """``%Nx.Tensor{}`` with a ``Nx.BinaryBackend``, as a term. ``names`` are those of the axes."""
    names = names or (None,) * array.ndim
    if len(names) != array.ndim:
        raise ValueError(f"{len(names)} names for {array.ndim} axes")
    type_ = type_of(array.dtype)
    data = np.ascontiguousarray(array, dtype_of(type_)).tobytes()
    return {
        _STRUCT: TENSOR,
        _DATA: {_STRUCT: BINARY_BACKEND, _STATE: data},
        _TYPE: type_,
        _SHAPE: tuple(array.shape),
        _NAMES: [NIL if name is None else Atom(name) for name in names],
        _AXES: [],
    }


def from_tensor(tensor: Any) -> NDArray[Any]:
    """The array of a ``%Nx.Tensor{}`` with a ``Nx.BinaryBackend``; a view of the binary, which cannot be
    written to. A tensor of another backend (EXLA, Torchx) is transferred first:
    ``Nx.backend_transfer(tensor)``.

    Raises ValueError for another term, and for a binary that does not fit the shape.
    """
    if not isinstance(tensor, dict) or tensor.get(_STRUCT) != TENSOR:
        raise ValueError("not a %Nx.Tensor{}")
    data, shape = tensor[_DATA], tensor[_SHAPE]
    if data.get(_STRUCT) != BINARY_BACKEND:
        raise ValueError(f"a tensor of {data.get(_STRUCT)}: call Nx.backend_transfer/1 before it is sent")
    return np.frombuffer(data[_STATE], dtype_of(tensor[_TYPE])).reshape(shape)
