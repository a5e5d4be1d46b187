"""What a privacy ledger may hold: one frozen class for each kind of entry, checked when read.

Every figure here is a public constant or a count of steps: nothing follows from the images.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from common.errors import LedgerError, SettingsError
from common.privacy.accounting import Accountant, Segment
from common.schema import build, to_plain


@dataclass(frozen=True)
class Charge:
    """The public constants of some noisy steps."""

    unit: str
    """What the site's id column identifies, such as ``patient`` or ``lesion``, or ``image``."""
    sample_rate: float
    noise_multiplier: float
    max_grad_norm: float
    steps: int

    @property
    def segment(self) -> Segment:
        return Segment(self.sample_rate, self.noise_multiplier, self.steps)


@dataclass(frozen=True)
class Genesis:
    """The first entry of a chain: whose it is, and what was lost before it."""

    site: str
    split: str
    """Digest of who trains, who tests and which images are left out, for the site's life."""
    nonce: str
    """Random, so that no two ledgers begin alike."""
    assumed_epsilon: float = 0.0
    """What a chain that was given up is taken to have spent, at ``assumed_delta``."""
    assumed_delta: float = 0.0
    assumed_releases: int = 0
    """Noised releases that it is taken to have made."""
    reason: str = ""


@dataclass(frozen=True)
class Plan:
    """A run's whole training, reserved before its first batch and spent from then on."""

    run_id: str
    charge: Charge
    delta: float
    accountant: Accountant
    """What priced the ledger with this plan: once it is RDP, the ledger is RDP's."""
    adaptive: bool
    """Whether training had been charged before: the plan may have been chosen on its results."""


@dataclass(frozen=True)
class Intent:
    """A round of a plan, charged before its first batch."""

    run_id: str
    server_round: int
    request: str
    steps: int


@dataclass(frozen=True)
class Release:
    """Noised counts of the test patients: one Gaussian, on those patients' own budget."""

    run_id: str
    server_round: int
    request: str
    unit: str
    noise_multiplier: float
    delta: float


@dataclass(frozen=True)
class Commit:
    """An answer to a request is on disk, and may be sent again at no cost."""

    run_id: str
    server_round: int
    request: str
    answer: str
    """SHA-256 of its bytes."""


Entry = Genesis | Plan | Intent | Release | Commit

KINDS: dict[str, type[Entry]] = {
    kind.__name__.lower(): kind for kind in (Genesis, Plan, Intent, Release, Commit)
}

E = TypeVar("E", bound=Entry)


def write_entry(entry: Entry, time: str) -> str:
    """The canonical text that is hashed: JSON with sorted keys and no spaces."""
    fields = {"kind": type(entry).__name__.lower(), "time": time, "entry": to_plain(entry)}
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)


@lru_cache(maxsize=65_536)
def read_entry(text: str) -> tuple[Entry, str]:
    """Parse what :func:`write_entry` wrote: the entry and its time.

    Raises:
        LedgerError: on anything else, and on figures that nothing could cost.
    """
    try:
        fields = json.loads(text)
        entry = build(KINDS[fields["kind"]], fields["entry"])
        time = fields["time"]
    except (ValueError, KeyError, TypeError, SettingsError) as error:
        raise LedgerError(f"not an entry: {error}") from error
    check_entry(entry)
    return entry, str(time)


def check_entry(entry: Entry) -> None:
    """Refuse negative steps and impossible constants, by whoever they were written.

    Raises:
        LedgerError: naming the field.
    """
    rules: list[tuple[str, bool]] = []
    if isinstance(entry, Plan):
        charge = entry.charge
        rules = [
            ("steps", charge.steps >= 1),
            ("sample_rate", 0 < charge.sample_rate <= 1),
            ("noise_multiplier", charge.noise_multiplier > 0),
            ("max_grad_norm", charge.max_grad_norm > 0),
            ("delta", 0 < entry.delta < 1),
        ]
    elif isinstance(entry, Intent):
        rules = [("steps", entry.steps >= 1)]
    elif isinstance(entry, Release):
        rules = [
            ("noise_multiplier", entry.noise_multiplier > 0),
            ("delta", 0 < entry.delta < 1),
        ]
    elif isinstance(entry, Genesis):
        rules = [
            ("assumed_epsilon", entry.assumed_epsilon >= 0),
            ("assumed_delta", 0 <= entry.assumed_delta < 1),
            ("assumed_releases", entry.assumed_releases >= 0),
        ]
    wrong = [name for name, holds in rules if not holds]
    if wrong:
        kind = type(entry).__name__.lower()
        raise LedgerError(f"impossible {' and '.join(wrong)} in an entry of kind '{kind}'")


def of_kind(
    entries: Sequence[Entry], kind: type[E], where: Callable[[E], bool] | None = None
) -> list[E]:
    """The entries of one kind, in order."""
    return [e for e in entries if isinstance(e, kind) and (where is None or where(e))]
