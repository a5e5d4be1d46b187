"""The corpus of malformed files.

    python -m tests.common.malformed.make FOLDER

writes every file, and prints how many there are of each kind.
"""

from __future__ import annotations

import random
import sys
import warnings
from collections import Counter
from itertools import chain
from pathlib import Path

from tests.common.malformed import bombs, content, sizes
from tests.common.malformed.base import Case


def corpus(seed: int = 0) -> list[Case]:
    """Every case; the same for the same seed."""
    makers = (
        sizes.truncations(),
        sizes.lying_values(),
        sizes.lying_lengths(),
        sizes.excess(),
        bombs.bombs(),
        bombs.plain_bombs(),
        bombs.deep_sequences(),
        content.preambles(),
        content.directories(),
        content.tables(),
        content.canaries(),
        content.noise(random.Random(seed)),
        content.fuzzed(random.Random(seed)),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, of the values that are wrong on purpose
        return list(chain.from_iterable(makers))


def main(words: list[str]) -> None:
    folder = Path(words[0])
    folder.mkdir(parents=True, exist_ok=True)
    cases = corpus()
    for number, case in enumerate(cases):
        (folder / f"{number:04d}").write_bytes(case.data)
    for kind, count in Counter(case.kind for case in cases).items():
        print(f"{count:>5} {kind}")
    print(f"{len(cases):>5} in all")


if __name__ == "__main__":
    main(sys.argv[1:])
