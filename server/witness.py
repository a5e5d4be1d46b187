"""The server's witness of each site's ledger: its newest chain, so that an older one is refused.

A site's ledger can be put back, or written anew by whoever holds its folder and key; neither goes
unseen here. The server keeps the hash of every entry, which says nothing of the entry itself.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from common.checkpoint import read_json, write_json
from common.errors import CheckpointError, MessageError
from common.messages import Answer, Description, EvaluateAnswer, TrainAnswer
from common.statement import HASH_BYTES, PrivacyStatement
from server.exchange import Replies
from server.job import Job

A = TypeVar("A", Description, TrainAnswer, EvaluateAnswer)


@dataclass(frozen=True)
class Seen:
    """What is remembered of one site's ledger."""

    entries: int
    head: str
    chain: str
    """Hexadecimal; the hashes of all entries."""
    epsilon: float = 0.0
    """The largest ε for a recovery that the site ever stated, at half of its δ."""


class Witness:
    """Remembers in one JSON file; a run's server, or all runs' where it is kept in one place."""

    def __init__(self, path: Path) -> None:
        """Read what was seen before.

        Raises:
            CheckpointError: where the file is damaged.
        """
        self.path = path
        self._seen: dict[str, Seen] = {}
        if path.exists():
            try:
                self._seen = {site: Seen(**facts) for site, facts in read_json(path).items()}
            except TypeError as error:
                raise CheckpointError(f"{path}: expected a server's witness of ledgers") from error

    def observe(self, site: str, chain: bytes, statement: PrivacyStatement | None) -> None:
        """Compare a site's chain with the newest seen, and remember the longer.

        A stored answer, sent again, carries the chain as it then was: the shorter must open the
        longer. A statement is fresh: its chain may not be shorter.

        Raises:
            MessageError: where the ledger is older than it was, or another; nothing is remembered.
        """
        if not chain:
            raise MessageError("it shows no ledger")
        seen = self._seen.get(site)
        entries = len(chain) // HASH_BYTES
        before = b"" if seen is None else bytes.fromhex(seen.chain)
        if seen is not None and statement is not None and _is_recovered(chain, before, statement):
            _check_recovery(statement, seen)
            before = b""
        shorter, longer = sorted((before, chain), key=len)
        if not longer.startswith(shorter):
            raise MessageError("its ledger is another than the one that this server has seen")
        if statement is not None and len(chain) < len(before):
            raise MessageError(
                f"its ledger has {entries} entries and had {len(before) // HASH_BYTES}: it was put "
                "back; the site goes on with 'fedrounds ledger recover'"
            )
        self._seen[site] = Seen(
            len(longer) // HASH_BYTES,
            longer[-HASH_BYTES:].hex(),
            longer.hex(),
            max(
                0.0 if seen is None else seen.epsilon,
                0.0 if statement is None else statement.epsilon_recovery,
            ),
        )

    def save(self) -> None:
        """Replace the file atomically."""
        write_json(self.path, {site: asdict(seen) for site, seen in sorted(self._seen.items())})


def _is_recovered(chain: bytes, before: bytes, statement: PrivacyStatement) -> bool:
    """Whether the site began a new chain and says so, with a charge for what it gave up."""
    return chain[:HASH_BYTES] != before[:HASH_BYTES] and statement.assumed_epsilon > 0


def _check_recovery(statement: PrivacyStatement, seen: Seen) -> None:
    if statement.assumed_epsilon < seen.epsilon:
        raise MessageError(
            f"its ledger was recovered with an assumed ε of {statement.assumed_epsilon:g}, and "
            f"had stated {seen.epsilon:.3f} for a recovery: recover it again with at least that"
        )


def witnessed(replies: Replies[A], job: Job, witness: Witness) -> Replies[A]:
    """Leave out each answer whose ledger is older than, or another than, the one seen."""
    answers, refused = dict(replies.answers), dict(replies.refused)
    for site, answer in replies.answers.items():
        if not answer.chain and not _needs_ledger(answer, job):
            continue
        try:
            witness.observe(site, answer.chain, _fresh_statement(answer))
        except MessageError as error:
            refused[site] = str(error)
            del answers[site]
    witness.save()
    return Replies(answers, refused, replies.declined)


def _needs_ledger(answer: Answer, job: Job) -> bool:
    """Whether an answer must show its ledger: under privacy, unless the site will not train."""
    declines = isinstance(answer, Description) and bool(answer.evaluate_only)
    return job.experiment.privacy.enabled and not declines


def _fresh_statement(answer: Description | TrainAnswer | EvaluateAnswer) -> PrivacyStatement | None:
    """The statement of an answer that was made just now; stored ones may be sent again later."""
    if isinstance(answer, TrainAnswer):
        return None
    if isinstance(answer, EvaluateAnswer) and answer.histograms is not None:
        return None
    return answer.privacy
