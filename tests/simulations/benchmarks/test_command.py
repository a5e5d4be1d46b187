"""How the benchmarks are called: what they do not know is refused, and errors are told."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from common.errors import SettingsError
from simulations.benchmarks.command import cells_folder, no_more, take_count, take_json, take_word

PRINTING = ("accounting", "decoding", "deployment", "ledger", "listing", "merging", "soak")


@pytest.mark.parametrize("name", PRINTING)
def test_a_word_that_is_not_known_is_refused_before_anything_is_measured(name: str) -> None:
    with pytest.raises(SettingsError, match="'--fiels=10': expected"):
        import_module(f"simulations.benchmarks.{name}").main(["--json", "--fiels=10"])


def test_words_are_taken_one_by_one() -> None:
    folder, words = cells_folder(["a=1", "output_dir=x", "--json", "n=7", "a=2"])
    assert (str(folder), words) == ("x", ["a=1", "--json", "n=7", "a=2"])
    assert take_word(words, "a", "0") == ("2", ["--json", "n=7"])
    assert take_count(words, "n", 3)[0] == 7
    assert take_count(words, "m", 3)[0] == 3
    assert take_json(["--json"]) == (True, [])
    no_more([])
    for wrong in ("0", "-1", "x", ""):
        with pytest.raises(SettingsError, match="expected a number from 1 on"):
            take_count([f"n={wrong}"], "n", 3)
    with pytest.raises(SettingsError, match="output_dir must be given once"):
        cells_folder([])


def test_an_error_is_a_line_and_an_exit_code_and_help_is_the_modules_own() -> None:
    def call(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "simulations.benchmarks.listing", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    refused = call("files=1")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: 'files=1': expected --json")
    helped = call("--help")
    assert helped.returncode == 0
    assert "python -m simulations.benchmarks.listing [--json]" in helped.stdout
