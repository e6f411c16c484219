"""Names and argument lists as a program gives them."""

from __future__ import annotations

import enum
from collections import deque
from typing import Any

import pytest

from quicdist import Atom, Pid, TermError
from quicdist.protocol.names import node_name, node_names
from quicdist.term.names import Name, argument_list, atom_of, mfa_of, name_of, named_term


class Text(str, enum.Enum):  # noqa: UP042 - its str() is not its text
    ONE = "one"


@pytest.mark.parametrize(("given", "text"), [("ok", "ok"), (Atom("ok"), "ok"), (Text.ONE, "one")])
def test_a_name_is_an_atom_or_a_str(given: Any, text: str) -> None:
    assert name_of(given) == text
    assert type(name_of(given)) is str
    assert atom_of(given) is Atom(text)


@pytest.mark.parametrize("wrong", [b"ok", 1, None, True, ["ok"], ("ok", "n@h"), Pid("n@h", 1, 0, 1)])
@pytest.mark.parametrize(("function", "wanted"), [(name_of, "a name"), (node_name, "a node name")])
def test_another_type_is_a_type_error_that_names_the_expected_one(
    function: Any, wanted: str, wrong: Any
) -> None:
    with pytest.raises(TypeError, match=rf"^{wanted} is a str or an Atom, not {type(wrong).__name__} "):
        function(wrong)


def test_a_name_no_atom_can_have_is_refused() -> None:
    with pytest.raises(TermError):
        atom_of("x" * 256)


def test_node_names_stay_as_they_were_given() -> None:
    mixed: list[Name] = ["a@h", Atom("b@h")]
    assert node_names(mixed) == mixed
    assert node_names(iter(("a@h",))) == ["a@h"]


@pytest.mark.parametrize("wrong", ["a@h", Atom("a@h"), b"a@h", None, 7])
def test_one_node_name_instead_of_a_list_is_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError, match="expected a list of node names"):
        node_names(wrong)


def test_a_wrong_name_among_several_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="a node name is"):
        node_names(["a@h", b"b@h"])  # type: ignore[type-var]


@pytest.mark.parametrize("given", [[1, 2], (1, 2), deque([1, 2]), range(1, 3), iter([1, 2])])
def test_arguments_are_a_list_of_any_kind(given: Any) -> None:
    assert argument_list(given) == [1, 2]


@pytest.mark.parametrize(
    "wrong", ["abc", b"abc", bytearray(b"a"), memoryview(b"a"), {"a": 1}, {1, 2}, 7, None, Atom("a")]
)
def test_what_is_no_list_of_arguments_is_a_type_error_that_names_the_mistake(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"arguments are a list, one for each parameter, not .*list of one"):
        argument_list(wrong)


def test_the_value_shown_is_cut_to_a_length() -> None:
    with pytest.raises(TypeError) as error:
        argument_list("x" * 100_000)
    assert len(str(error.value)) < 200


def test_module_function_and_arguments() -> None:
    assert mfa_of("lists", Atom("reverse"), ([1],)) == (Atom("lists"), Atom("reverse"), [[1]])
    with pytest.raises(TypeError, match="a module is"):
        mfa_of(b"lists", "reverse", [])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a function is"):
        mfa_of("lists", None, [])  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [Atom("a"), 7, ("a", 1), b"a", None])
def test_a_name_that_may_be_any_term_stays_as_it_is(given: Any) -> None:
    assert named_term(given) is given


def test_a_str_that_names_a_term_stands_for_the_atom() -> None:
    assert named_term("a") is Atom("a")
