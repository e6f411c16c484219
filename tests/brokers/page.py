"""The programs of docs/how-to/joining.md, run against what the tests have started."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "joining.md"


def programs(section: str) -> list[str]:
    """The Python programs of a section."""
    text = PAGE.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)


async def run_program(section: str, replaced: Mapping[str, str], *, number: int = 0) -> list[Any]:
    """Run the program of this number with other names and paths; what it prints, one value for each
    ``print``."""
    source = programs(section)[number]
    for text, other in replaced.items():
        assert text in source, f"{text} is not in program {number} of {section}"
        source = source.replace(text, other)
    printed: list[Any] = []
    code = compile(source, f"{PAGE}: {section}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    await eval(code, {"print": lambda *values: printed.append(values if len(values) > 1 else values[0])})
    return printed
