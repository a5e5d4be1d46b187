"""What a tracker is, which there are, and why none of them can end a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from common.config import Experiment, TrackerName
from common.extras import require_extra
from common.messages import Description
from server.job import Progress
from server.tracking.values import result_values, round_values

Say = Callable[[str], None]


class Backend(Protocol):
    """Where values go."""

    def log(self, values: Mapping[str, float], server_round: int) -> None:
        """Values by name, as they are after a round."""

    def close(self, complete: bool) -> None:
        """No more comes; ``complete`` where the run has ended as it should."""


def require_tracker(name: TrackerName) -> None:
    """Have the package of a tracker, before anything starts.

    Raises:
        SettingsError: where it is not installed.
    """
    if name != "none":
        require_extra(f"tracker={name}", name, name)


def open_tracker(
    name: TrackerName, experiment: Experiment, run_id: str, folder: Path, say: Say
) -> Tracker:
    """Start to track a run, or go on with one of the same id.

    Args:
        name: which tracker.
        experiment: what is trained; told as parameters.
        run_id: of the run.
        folder: its output folder; what a tracker keeps in files is there or beside it.
        say: tells a person what has failed.
    """

    def open_backend() -> Backend | None:
        if name == "tensorboard":
            from server.tracking.tensorboard_backend import TensorBoard

            return TensorBoard(experiment, folder)
        if name == "mlflow":
            from server.tracking.mlflow_backend import MLflow

            return MLflow(experiment, run_id, folder)
        return None

    return Tracker(name, open_backend, say)


class Tracker:
    """Tells a run to a backend; a context manager, since the backend has to be closed.

    A backend may be a server that is down, or a full disk. Under privacy a run that ended there
    would have spent its budget for nothing, so what fails is said once and the run goes on.
    """

    def __init__(self, name: str, open_backend: Callable[[], Backend | None], say: Say) -> None:
        self._name, self._say = name, say
        self._backend: Backend | None = None
        self._complete = False
        with self._giving_up():
            self._backend = open_backend()

    def round_done(self, line: Mapping[str, Any]) -> None:
        """A round's line, as ``rounds.jsonl`` got it."""
        self._log(round_values(line), line["round"])

    def ended(self, result: Mapping[str, Any]) -> None:
        """What ``result.json`` holds."""
        self._log(result_values(result), result["rounds"])
        self._complete = not result["incomplete"]

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, *_: object) -> None:
        backend = self._backend
        if backend is not None:
            with self._giving_up():
                backend.close(self._complete)

    def _log(self, values: Mapping[str, float], server_round: int) -> None:
        backend = self._backend
        if backend is not None:
            with self._giving_up():
                backend.log(values, server_round)

    @contextmanager
    def _giving_up(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever a backend or its network raises
            self._backend = None
            self._say(f"warning: tracker={self._name} failed, the run goes on without it: {error}")


class TrackedProgress:
    """A :class:`server.job.Progress` that is told to a tracker too."""

    def __init__(self, progress: Progress, tracker: Tracker) -> None:
        self._progress, self._tracker = progress, tracker

    def described(self, descriptions: Mapping[str, Description]) -> None:
        self._progress.described(descriptions)

    def round_done(self, line: Mapping[str, Any]) -> None:
        self._progress.round_done(line)
        self._tracker.round_done(line)
