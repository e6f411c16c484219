"""A page whose terminal shows something else is found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.tutorials.terminal import Difference, matches
from tests.tutorials.walk import walk

PAGE = """
```console title="One"
$ mkdir here
$ cd here
$ pwd
.../here
```

```python title="program.py"
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
print("begun", 7)
signal.sigwait([signal.SIGINT])
print("done")
```

```console title="One"
$ python3 program.py
begun ...
^C
done
$ seq 3
...
3
```

```console title="Two"
$ cat here/program.py
import signal
...
```
"""


def walked(text: str, directory: Path) -> list[str]:
    page = directory / "page.md"
    page.write_text(text)
    said: list[str] = []
    walk([page], directory, os.environ, said.append, timeout=5)
    return said


def test_a_page_that_shows_what_happens_is_walked(tmp_path: Path) -> None:
    said = walked(PAGE, tmp_path)
    assert said[0].endswith("$ mkdir here")
    assert said[-1].endswith("$ cat here/program.py")


@pytest.mark.parametrize(
    ("shown", "difference"),
    [
        ("$ echo one\ntwo\n", "expected the line 'two'.*\none"),
        ("$ echo one\n$ echo two\n", r"expected the prompt '\$ '.*\none"),
        ("$ sleep 60\nslept\n", "expected the line 'slept'"),
        ("(a@h)1> ok.\n", "expected the prompt"),
    ],
    ids=["another line", "a line more", "nothing", "another prompt"],
)
def test_a_difference_is_told_with_block_and_terminal(shown: str, difference: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f'```console title="One"\n{shown}```\n')
    with pytest.raises(Difference, match=rf"(?s)page.md:1 \(One\): {difference}"):
        walk([page], tmp_path, os.environ, lambda line: None, timeout=0.5)


@pytest.mark.parametrize(
    ("expected", "line", "same"),
    [
        ("{<0.1.0>,ok}", "{<9012.87.0>,ok}", True),
        ("a ... c", "a b c", True),
        ("a ... c", "a b d", False),
        ("a.c", "abc", False),
        ("  indented", "indented", True),
    ],
)
def test_a_line_of_a_page_is_compared_without_what_varies(expected: str, line: str, same: bool) -> None:
    assert matches(expected, line) is same
