"""The README as a package index shows it.

No file stands beside it there, so that its relative links would lead nowhere. They get an absolute address
(``links`` in ``[tool.hatch.metadata.hooks.custom]``) or, while that is empty, become plain text; a picture is
then left out. hatchling
calls this, as a metadata hook, when it builds the package.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

#: A Markdown link whose target is a file of the repository: neither an absolute address nor a fragment.
RELATIVE_LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]+)\]\((?P<target>(?![a-z][a-z+.-]*:|#)[^)\s]+)\)")


def for_index(text: str, links: str) -> str:
    """``text`` with each relative link behind the address ``links``, or without links if that is empty."""

    def absolute(match: re.Match[str]) -> str:
        if links:
            return f"{match['picture']}[{match['text']}]({links}{match['target']})"
        return "" if match["picture"] else match["text"]

    return RELATIVE_LINK.sub(absolute, text)


def get_metadata_hook() -> type[Any]:
    """What hatchling looks for in this file."""
    from hatchling.metadata.plugin.interface import MetadataHookInterface

    class ReadmeHook(MetadataHookInterface):
        def update(self, metadata: dict[str, Any]) -> None:
            text = Path(self.root, "README.md").read_text(encoding="utf-8")
            text = for_index(text, self.config.get("links", ""))
            metadata["readme"] = {"content-type": "text/markdown", "text": text}

    return ReadmeHook
