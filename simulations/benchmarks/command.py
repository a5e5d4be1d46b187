"""How a benchmark is called: words as ``KEY=VALUE``, ``--json``, and errors told as the command's.

One that makes a table of runs takes ``output_dir``, which keeps them, and further settings as of
``fedrounds simulate``. The others print, and refuse what they do not know.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from common.errors import FedroundsError, SettingsError
from common.schema import suggest


def run(main: Callable[[list[str]], object]) -> None:
    """Call ``main`` with the words of the command line, and exit as ``fedrounds`` does.

    ``--help`` prints what the benchmark's own module says of itself.
    """
    words = sys.argv[1:]
    if "-h" in words or "--help" in words:
        print(sys.modules["__main__"].__doc__)
        return
    try:
        main(words)
    except FedroundsError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        sys.exit(error.exit_code)


def cells_folder(words: Sequence[str]) -> tuple[Path, list[str]]:
    """Where a table's cells are kept, and the words that are not about that.

    Raises:
        SettingsError: where no folder is named: what is to go on has to be found again.
    """
    named = [word.split("=", 1)[1] for word in words if word.startswith("output_dir=")]
    if len(named) != 1:
        raise SettingsError("output_dir must be given once: the folder that keeps the cells")
    return Path(named[0]), [word for word in words if not word.startswith("output_dir=")]


def take_word(words: Sequence[str], key: str, default: str) -> tuple[str, list[str]]:
    """The value of ``key=…`` among a benchmark's own words, and the other words."""
    found = [word.split("=", 1)[1] for word in words if word.startswith(f"{key}=")]
    return (found or [default])[-1], [word for word in words if not word.startswith(f"{key}=")]


def take_count(words: Sequence[str], key: str, default: int) -> tuple[int, list[str]]:
    """The same of a number from 1 on.

    Raises:
        SettingsError: where it is none.
    """
    text, rest = take_word(words, key, str(default))
    if not text.isdigit() or int(text) < 1:
        raise SettingsError(f"{key}={text}: expected a number from 1 on, as {key}={default}")
    return int(text), rest


def take_json(words: Sequence[str]) -> tuple[bool, list[str]]:
    """Whether ``--json`` is among the words, and the others."""
    return "--json" in words, [word for word in words if word != "--json"]


def no_more(words: Sequence[str], *known: str) -> None:
    """Refuse words that are left.

    Raises:
        SettingsError: naming them, and what is known.
    """
    taken = ", ".join(known) or "no word"
    problems = [f"'{word}': expected {taken}{suggest(word, known)}" for word in words]
    if problems:
        raise SettingsError(problems)
