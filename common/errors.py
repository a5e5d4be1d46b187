"""Every error that fedrounds raises on purpose, in one tree.

    FedroundsError                 exit code 2 unless it says otherwise
    ├── SettingsError              a setting is unknown, wrong, or contradicts another
    ├── DataError                  images, tables or labels cannot be used
    │   └── OneClassError          the labels hold fewer than two classes
    ├── ModelError                 a model cannot be built, or arrays do not fit it
    ├── MessageError               what crossed the wire is not what was expected
    │   └── RefusalError           the site refused, and said why by a code
    ├── PrivacyError               a privacy guarantee could not be kept
    │   ├── PolicyError            the site's policy refuses the request
    │   │   └── BudgetError        the site's budget, or the run's plan, is spent
    │   └── LedgerError            the privacy ledger cannot be read or written
    ├── CheckpointError            a checkpoint or model file is missing, damaged or foreign
    ├── JoinError                  a site cannot join the run, so nothing was trained
    ├── ProcessError               a process that is needed did not start, or ended (exit code 3)
    └── IncompleteRunError         the run ended before all its rounds were applied (exit code 3)

A message says what was expected, what came, and what to do. It may name files: it is for the
person who owns them. Across the wire travels only the class's ``code``, which is from this file
and so says nothing about any patient.
"""

from __future__ import annotations

from typing import ClassVar


class FedroundsError(Exception):
    """Base of the tree: ``code`` crosses the wire, ``exit_code`` goes to the shell."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 2


class SettingsError(FedroundsError):
    """One or more settings cannot be used; ``problems`` holds every one of them."""

    code = "settings"

    def __init__(self, problems: str | list[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class DataError(FedroundsError):
    """Images, tables or labels cannot be used."""

    code = "data"


class OneClassError(DataError):
    """A classifier needs at least two classes with images."""

    code = "unavailable"


class ModelError(FedroundsError):
    """A model cannot be built, or the arrays at hand do not fit it."""

    code = "model"


class MessageError(FedroundsError):
    """A message is not what was expected; answers that raise it are dropped one by one."""

    code = "message"


class RefusalError(MessageError):
    """A site refused; ``refused`` is the code it gave."""

    def __init__(self, refused: str) -> None:
        self.refused = refused
        super().__init__(f"refused: {refused}")


class PrivacyError(FedroundsError):
    """A privacy guarantee could not be kept, so nothing was done."""

    code = "privacy"


class PolicyError(PrivacyError):
    """The site's own policy refuses what was asked."""

    code = "policy"


class BudgetError(PolicyError):
    """What was asked would pass the site's cap or the run's plan; the site only evaluates."""

    code = "budget"


class LedgerError(PrivacyError):
    """The privacy ledger cannot be read or written; the site does not train without it."""

    code = "ledger"


class CheckpointError(FedroundsError):
    """A checkpoint or model file is missing, damaged, or belongs to another model."""

    code = "checkpoint"


class JoinError(FedroundsError):
    """A site cannot join the run; nothing was trained."""

    code = "join"


class ProcessError(FedroundsError):
    """A process that is needed did not start, or ended."""

    code = "process"
    exit_code = 3


class IncompleteRunError(FedroundsError):
    """The run ended before all its rounds were applied."""

    code = "incomplete"
    exit_code = 3


def wire_codes() -> frozenset[str]:
    """Every code that may stand in an answer from a site (a fixed list, so it leaks nothing)."""
    found = {FedroundsError.code}
    todo = [FedroundsError]
    while todo:
        for subclass in todo.pop().__subclasses__():
            found.add(subclass.code)
            todo.append(subclass)
    return frozenset(found)
