"""The tree of errors: as it is drawn in the docstring of ``quicdist.errors``, and as it is."""

from __future__ import annotations

import importlib
import inspect
import pickle
import pkgutil
import re
from pathlib import Path

import pytest

import quicdist
import quicdist.errors
from quicdist.errors import QuicDistError

#: Never seen by a program.
INTERNAL = {"DialAgain"}
PUBLIC = [
    "quicdist",
    *(
        f"quicdist.{part}"
        for part in (
            "carrier",
            "config",
            "discovery",
            "gateway",
            "node",
            "otp",
            "protocol",
            "term",
            "testing",
        )
    ),
]
#: A line of the drawing: its lead, the class, its built-in bases and when it is raised.
LINE = re.compile(r"^    ((?:[│ ] {3})*(?:[├└]── )?)(\w+)(?: \(([\w, ]+)\))?: (\S.*)$", re.MULTILINE)


def classes() -> list[type[QuicDistError]]:
    for module in pkgutil.walk_packages(quicdist.__path__, "quicdist."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found: list[type[QuicDistError]] = [QuicDistError]
    for each in found:
        found += [kind for kind in each.__subclasses__() if kind.__module__.startswith("quicdist.")]
    return [kind for kind in dict.fromkeys(found) if kind.__name__ not in INTERNAL]


CLASSES = classes()


def parent(kind: type[QuicDistError]) -> str | None:
    return next((base.__name__ for base in kind.__bases__ if issubclass(base, QuicDistError)), None)


def builtin_bases(kind: type[QuicDistError]) -> str:
    bases = (base for base in kind.__bases__ if base.__module__ == "builtins" and base is not Exception)
    return ", ".join(base.__name__ for base in bases)


def drawn() -> dict[str, tuple[str | None, str]]:
    """The parent and built-in bases of each class, by the drawing."""
    above: list[str] = []
    tree: dict[str, tuple[str | None, str]] = {}
    for lead, name, bases, _ in LINE.findall(quicdist.errors.__doc__ or ""):
        del above[len(lead) // 4 :]
        assert name not in tree
        tree[name] = above[-1] if above else None, bases
        above.append(name)
    return tree


def test_the_drawing_has_each_class_below_its_parent_with_its_builtin_bases() -> None:
    assert drawn() == {kind.__name__: (parent(kind), builtin_bases(kind)) for kind in CLASSES}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_each_error_can_be_imported_from_a_public_module(kind: type[QuicDistError]) -> None:
    places = [importlib.import_module(name) for name in PUBLIC]
    named = [place.__name__ for place in places if kind.__name__ in place.__all__]
    assert named, f"{kind.__name__} is named by no __all__"
    assert all(getattr(importlib.import_module(name), kind.__name__) is kind for name in named)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_each_error_says_in_its_own_docstring_when_it_is_raised(kind: type[QuicDistError]) -> None:
    assert len((kind.__dict__.get("__doc__") or "").split()) >= 4


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_each_error_survives_pickling_with_its_text_and_attributes(kind: type[QuicDistError]) -> None:
    error = kind.__new__(kind)
    error.args = ("what went wrong",)
    error.__dict__.update(node="a@host", reason="because")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.args, copy.__dict__) == (kind, error.args, error.__dict__)


def test_the_page_on_errors_has_the_tree() -> None:
    page = (Path(__file__).parent.parent / "docs" / "reference" / "errors.md").read_text()
    (shown,) = re.findall(r"^```\n(QuicDistError: .*?)^```$", page, re.M | re.S)
    described = inspect.cleandoc(quicdist.errors.__doc__ or "")
    assert shown.splitlines() == [line[4:] for line in described.splitlines() if line.startswith("    ")]
