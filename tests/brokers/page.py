"""The programs of docs/joining.md, run against what the tests have started."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "joining.md"


def program(section: str) -> str:
    """The Python program of a section."""
    (text,) = re.findall(rf"^## {section}\n.*?^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    assert isinstance(text, str)
    return text


async def run_program(section: str, replaced: Mapping[str, str]) -> list[Any]:
    """Run it with other names and paths; what it prints, one value for each ``print``."""
    source = program(section)
    for text, other in replaced.items():
        assert text in source, f"{text} is not in the program of {section}"
        source = source.replace(text, other)
    printed: list[Any] = []
    code = compile(source, f"{PAGE}: {section}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    await eval(code, {"print": printed.append})
    return printed
