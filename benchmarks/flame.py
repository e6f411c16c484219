"""Samples of a call stack, put into groups and drawn as a flame graph."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

#: A call stack, outermost function first, each as ``module.function``.
Stack = tuple[str, ...]

#: Group, colour, and the pattern of its functions' full names. The first group that matches counts.
GROUPS: tuple[tuple[str, str, str], ...] = (
    ("crypto", "#c62828", r"aioquic\.(quic\.crypto|_crypto|tls)\b|cryptography"),
    (
        "acknowledgements and congestion",
        "#ef6c00",
        r"aioquic\.quic\.(recovery|rangeset|congestion|connection\.\w+\.\w*_ack_)"
        r"|quicdist\.carrier\.quic\.engine\.(recovery|aioquic\.recovery)\b",
    ),
    (
        "streams",
        "#9e9d24",
        r"aioquic\.quic\.stream\b|quicdist\.carrier\.quic\.engine\.aioquic\.(reassembly|retransmission)\b",
    ),
    (
        "packet building",
        "#f9a825",
        r"aioquic\.quic\.(packet_builder|connection\.\w+\.(datagrams_to_send|send_\w+|_write_\w+|_push\w*))"
        r"|quicdist\.carrier\.quic\.engine\.aioquic\.fast_send\b",
    ),
    ("packet parsing", "#fdd835", r"aioquic\.|quicdist\.carrier\.quic\.engine\.(aioquic|wire)\b"),
    ("sockets", "#2e7d32", r"quicdist\.carrier\.udp"),
    ("carrier", "#66bb6a", r"quicdist\.carrier"),
    ("codec", "#1565c0", r"quicdist\.term"),
    ("protocol", "#42a5f5", r"quicdist\.protocol"),
    ("node", "#6a1b9a", r"quicdist\.(node|otp)"),
    ("epoll (idle)", "#cfd8dc", r"selectors"),
    ("asyncio", "#78909c", r"asyncio|threading|concurrent"),
    ("benchmark program", "#b0bec5", r""),
)
_PATTERNS = [(name, re.compile(pattern)) for name, _, pattern in GROUPS]
_COLOURS = {name: colour for name, colour, _ in GROUPS}

#: The part of a path before the package.
_PACKAGE = re.compile(r".*/(?:site-packages|src|lib/python3\.\d+)/")
_FRAME = re.compile(r"^(?P<function>.+) \((?P<file>[^()]*?)(?::\d+)?\)$")
#: Functions of set-up and shutdown, which are not counted.
_NOT_MEASURED = re.compile(r"importlib|_handshake|handshake_|\.tls\.|\.close\b|\.start\b")


def group(function: str) -> str:
    """The group of a function."""
    return next(name for name, pattern in _PATTERNS if pattern.match(function))


def read(file: Path) -> Counter[Stack]:
    """Read the output of ``py-spy record --format raw``, without set-up and shutdown."""
    stacks: Counter[Stack] = Counter()
    for line in file.read_text().splitlines():
        frames, _, count = line.rpartition(" ")
        stack = tuple(_name(frame) for frame in frames.split(";") if frame)
        if not any(map(_NOT_MEASURED.search, stack)):
            # Above the event loop's _run_once all stacks are the same.
            turns = [depth for depth, name in enumerate(stack) if name.endswith("._run_once")]
            if turns:
                stacks[stack[turns[-1] + 1 :]] += int(count)
    return stacks


def _name(frame: str) -> str:
    match = _FRAME.match(frame)
    if match is None:
        return frame
    module = _PACKAGE.sub("", match["file"])
    if module.startswith("/"):
        module = "/".join(module.split("/")[-2:])
    return f"{module.removesuffix('.py').replace('/', '.')}.{match['function']}"


def shares(stacks: Counter[Stack]) -> dict[str, float]:
    """The share of each group. A sample counts for its innermost function (self time)."""
    found: Counter[str] = Counter()
    for stack, count in stacks.items():
        found[group(stack[-1]) if stack else "asyncio"] += count
    total = found.total()
    return {name: found[name] / total for name, _, _ in GROUPS}


def hottest(stacks: Counter[Stack], number: int) -> list[tuple[str, float]]:
    """The functions with the most self time, and their shares."""
    found: Counter[str] = Counter()
    for stack, count in stacks.items():
        if stack:
            found[stack[-1]] += count
    total = stacks.total()
    return [(name, count / total) for name, count in found.most_common(number)]


# -- drawing -----------------------------------------------------------------------------------

WIDTH = 1200
ROW = 17
TOP = 46
#: Boxes narrower than this, in pixels, are left out.
NARROWEST = 0.8
CHARACTER = 6.2


@dataclass(slots=True)
class _Box:
    count: int = 0
    inner: dict[str, _Box] = field(default_factory=dict)


def draw(stacks: Counter[Stack], title: str) -> str:
    """An SVG: the loop at the top, what it calls below; a box's width is its share of the time."""
    root = _Box()
    for stack, count in stacks.items():
        box = root
        box.count += count
        for function in stack:
            box = box.inner.setdefault(function, _Box())
            box.count += count
    boxes: list[str] = []
    depth = _draw_inner(root, 0, 0.0, WIDTH / root.count, root.count, boxes)
    height = TOP + depth * ROW + 6
    legend = []
    x = 6.0
    for name, colour, _ in GROUPS:
        legend.append(
            f'<rect x="{x:.0f}" y="26" width="10" height="10" fill="{colour}"/>'
            f'<text x="{x + 13:.0f}" y="35">{escape(name)}</text>'
        )
        x += 26 + CHARACTER * len(name)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}"'
            ' font-family="monospace" font-size="10.5">',
            f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
            f'<text x="6" y="16" font-size="13">{escape(title)}</text>',
            *legend,
            *boxes,
            "</svg>\n",
        ]
    )


def _draw_inner(box: _Box, depth: int, x: float, scale: float, total: int, boxes: list[str]) -> int:
    deepest = depth
    for function, inner in sorted(box.inner.items()):
        width = inner.count * scale
        if width >= NARROWEST:
            boxes.append(_draw_box(function, depth, x, width, inner.count / total))
            deepest = max(deepest, depth + 1, _draw_inner(inner, depth + 1, x, scale, total, boxes))
        x += width
    return deepest


def _draw_box(function: str, depth: int, x: float, width: float, share: float) -> str:
    y = TOP + depth * ROW
    colour = _COLOURS[group(function)]
    short = function.rpartition(".")[2]
    room = int((width - 4) / CHARACTER)
    text = short if len(short) <= room else short[: room - 1] + "…" if room > 3 else ""
    label = f'<text x="{x + 2:.1f}" y="{y + 12}">{escape(text)}</text>' if text else ""
    return (
        f"<g><title>{escape(function)}: {share:.1%}</title>"
        f'<rect x="{x:.1f}" y="{y}" width="{max(width - 0.4, 0.4):.1f}" height="{ROW - 1}" '
        f'fill="{colour}" fill-opacity="0.55"/>{label}</g>'
    )
