"""Funs: external ones, and local ones, which only the node that made them can run."""

from __future__ import annotations

from typing import Any, final

from quicdist.term.atom import Atom
from quicdist.term.base import Value, operations
from quicdist.term.errors import DecodeError, TermError
from quicdist.term.tags import Tag

#: A BEAM closes the connection for a fun that exceeds these (erts: MAX_ARG, small integers).
MAX_FREE_VARIABLES = 255
SMALL_LIMIT = 1 << 59


class _Function(Value):
    __slots__ = ("_etf", "module")

    module: Atom
    _etf: bytes

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return bool(self._etf == other._etf)

    def __hash__(self) -> int:
        return hash(self._etf)


@final
class Export(_Function):
    """An external fun, ``fun Module:Function/Arity`` (EXPORT_EXT); arity 0 to 255."""

    __slots__ = ("arity", "function")
    __match_args__ = ("module", "function", "arity")

    function: Atom
    arity: int

    def __init__(self, module: Atom | str, function: Atom | str, arity: int) -> None:
        module, function = Atom(module), Atom(function)
        if type(arity) is not int or not 0 <= arity <= 255:
            raise TermError(f"an arity is 0 to 255, not {arity!r}")
        etf = b"%c%b%b%c%c" % (Tag.EXPORT_EXT, module._etf, function._etf, Tag.SMALL_INTEGER_EXT, arity)
        _set_module(self, module)
        _set_function(self, function)
        _set_arity(self, arity)
        _set_etf(self, etf)

    def __repr__(self) -> str:
        return f"Export({self.module.name!r}, {self.function.name!r}, {self.arity})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Export, (self.module, self.function, self.arity)


_set_module = Export.module.__set__  # type: ignore[attr-defined, misc]
_set_function = Export.function.__set__  # type: ignore[attr-defined, misc]
_set_arity = Export.arity.__set__  # type: ignore[attr-defined, misc]
_set_etf = Export._etf.__set__  # type: ignore[attr-defined, misc]


@final
class Fun(_Function):
    """A local fun (NEW_FUN_EXT): opaque here, and sent back byte for byte as it came.

    ``Fun(etf)`` takes its external form from the tag on; raises DecodeError if it is not one.
    ``uniq`` (16 bytes), ``index``, ``old_index`` and ``old_uniq`` are as the compiler of its module
    numbered it; ``pid`` is the process that made it.
    """

    __slots__ = ("pid",)

    pid: Any

    def __new__(cls, etf: bytes) -> Fun:
        fun, end = operations.decode(etf, 0)
        if type(fun) is not Fun or end != len(etf):
            raise DecodeError("not the external form of one local fun", offset=end)
        return fun

    @property
    def etf(self) -> bytes:
        """The whole external form, from its tag on."""
        return self._etf

    @property
    def arity(self) -> int:
        return self._etf[5]

    @property
    def uniq(self) -> bytes:
        return self._etf[6:22]

    @property
    def index(self) -> int:
        return int.from_bytes(self._etf[22:26])

    @property
    def num_free(self) -> int:
        return int.from_bytes(self._etf[26:30])

    @property
    def old_index(self) -> int:
        return self._terms(2)[1]  # type: ignore[no-any-return]

    @property
    def old_uniq(self) -> int:
        return self._terms(3)[2]  # type: ignore[no-any-return]

    @property
    def free_variables(self) -> list[Any]:
        """The terms that the fun closes over, decoded anew each time."""
        return self._terms(4 + self.num_free)[4:]

    def _terms(self, count: int) -> list[Any]:
        """The first terms in it: module, old_index, old_uniq, pid, and the free variables."""
        at = 30
        parts = []
        for _ in range(count):
            part, at = operations.decode(self._etf, at)
            parts.append(part)
        return parts

    def __str__(self) -> str:
        return f"#Fun<{self.module.name}.{self.old_index}.{self.old_uniq}>"

    def __repr__(self) -> str:
        return f"Fun({self._etf!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Fun, (self._etf,)
