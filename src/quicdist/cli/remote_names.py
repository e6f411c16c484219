"""The modules and functions of another node that a prompt completes."""

from __future__ import annotations

import re
from typing import Any, Final

from quicdist import Atom, QuicDistError, format_term
from quicdist.cli.evaluator import Evaluator
from quicdist.term import chardata_to_str

#: What stands before the cursor: a module, a colon, the beginning of a function.
_WORD: Final = re.compile(r"(?:(?P<module>[a-z][\w@]*|'[^']*')\s*:\s*)?(?P<begun>[a-z][\w@]*|'[^']*)?$")


class RemoteNames:
    """Asked for when they are first needed, and kept."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._modules: list[str] | None = None
        self._functions: dict[str, list[str]] = {}

    async def candidates(self, before: str) -> tuple[int, list[str]]:
        """What may stand in place of the last word of ``before``, and how many characters that word has. A
        function has an opening parenthesis, and a closing one too if it takes no argument."""
        found = _WORD.search(before)
        begun = (found and found["begun"]) or ""
        module = found and found["module"]
        if module:
            names = await self._of_module(module)
        elif begun:
            names = [f"{name}:" for name in await self._all_modules()]
        else:
            names = []
        return len(begun), [name for name in names if name.startswith(begun)]

    async def _all_modules(self) -> list[str]:
        if self._modules is None:
            available = await self._ask("code", "all_available")
            names = [chardata_to_str(each[0]) for each in available if isinstance(each, tuple) and each]
            loaded = [] if names else await self._ask("erlang", "loaded")
            names += [str(each) for each in loaded if isinstance(each, Atom)]
            self._modules = sorted(format_term(Atom(name)) for name in set(names))
        return self._modules

    async def _of_module(self, module: str) -> list[str]:
        if module not in self._functions:
            exported = await self._ask(module.strip("'"), "module_info", Atom("exports"))
            takes: dict[str, bool] = {}
            for each in exported:
                match each:
                    case (Atom() as name, int(arity)):
                        text = format_term(name)
                        takes[text] = takes.get(text, False) or arity > 0
            self._functions[module] = sorted(
                f"{name}(" if arguments else f"{name}()" for name, arguments in takes.items()
            )
        return self._functions[module]

    async def _ask(self, module: str, function: str, *arguments: Any) -> list[Any]:
        """A list, empty if the node does not tell."""
        try:
            answer = await self._evaluator.call(module, function, list(arguments))
        except QuicDistError:
            return []
        return answer if isinstance(answer, list) else []
