"""Draws ``message-path.svg`` in ``docs/explanation`` from the tables of ``message-path.md``.

``python scripts/draw_message_path.py`` writes the picture; ``tests/test_message_path.py`` checks that it is
what this program draws.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs" / "explanation"
PAGE = DOCS / "message-path.md"
PICTURE = DOCS / "message-path.svg"

SECTIONS = ("From Process.send to the socket", "From the socket to a handler")
#: By the first folder of a file: a name for the legend, and a colour.
LAYERS = {
    "node": ("quicdist.node", "#dbe7f6"),
    "carrier": ("quicdist.carrier", "#dff0e0"),
    "protocol": ("quicdist.protocol", "#f6ecd6"),
    "term": ("quicdist.term", "#efe1f3"),
}

WIDTH, BOX, HEIGHT, GAP, TOP = 1000, 450, 44, 16, 76


def rows(section: str) -> list[tuple[str, str]]:
    """The files that a message passes over QUIC in a section of the page, and what each does."""
    text = PAGE.read_text().partition(f"## {section}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([\w/]+\.py)` \| (.*) \| ✓ \| ✓? ?\|$", text, re.M)


def box(x: float, y: float, file: str, step: str) -> str:
    colour = LAYERS[file.partition("/")[0]][1]
    step = escape(step.replace("`", ""))
    return (
        f'<rect x="{x}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="6" fill="{colour}" stroke="#8a94a3"/>'
        f'<text x="{x + 12}" y="{y + 18}" class="file">{file}</text>'
        f'<text x="{x + 12}" y="{y + 35}" class="step">{step}</text>'
    )


def arrow(x: float, start: float, end: float) -> str:
    return f'<line x1="{x}" y1="{start}" x2="{x}" y2="{end}" class="arrow" marker-end="url(#head)"/>'


def draw() -> str:
    """The picture: sending goes down on the left, receiving up on the right, the socket is below."""
    sending, receiving = (rows(section) for section in SECTIONS)
    step = HEIGHT + GAP
    bottom = TOP + max(len(sending), len(receiving)) * step
    height = bottom + 92
    left, right = 30, WIDTH - BOX - 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="Helvetica, Arial, sans-serif" role="img" '
        'aria-label="The path of a message over QUIC, file by file">',
        "<style>.file{font:600 14px monospace;fill:#1b2430}.step{font-size:12px;fill:#46505e}"
        ".title{font-size:16px;font-weight:600;fill:#1b2430}.arrow{stroke:#46505e;stroke-width:1.6}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0 8 4 0 8z" fill="#46505e"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for x, title in ((left, "Process.send(to, message)"), (right, "the handler, or process.receive()")):
        parts.append(f'<text x="{x + BOX / 2}" y="32" text-anchor="middle" class="title">{title}</text>')
    for number, (file, what) in enumerate(sending):
        y = TOP + number * step
        parts += [arrow(left + BOX / 2, y - GAP if number else 42, y), box(left, y, file, what)]
    top = bottom - len(receiving) * step
    for number, (file, what) in enumerate(reversed(receiving)):
        y = top + number * step
        parts += [arrow(right + BOX / 2, y, y - GAP if number else 42), box(right, y, file, what)]
    y = bottom + 8
    parts += [
        arrow(left + BOX / 2, bottom - GAP, y),
        arrow(right + BOX / 2, y, bottom - GAP),
        f'<rect x="{left}" y="{y}" width="{WIDTH - 60}" height="32" rx="6" fill="#e6e8eb" stroke="#8a94a3"/>',
        f'<text x="{WIDTH / 2}" y="{y + 21}" text-anchor="middle" class="title">UDP socket</text>',
    ]
    for number, (name, colour) in enumerate(LAYERS.values()):
        x = left + number * 200
        parts.append(
            f'<rect x="{x}" y="{height - 34}" width="16" height="16" rx="3" fill="{colour}" '
            'stroke="#8a94a3"/>'
        )
        parts.append(f'<text x="{x + 24}" y="{height - 21}" class="step">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(draw())
