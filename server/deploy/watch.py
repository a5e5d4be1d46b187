"""What is looked after while a run is on: processes, keys, refused calls, what Flower says."""

from __future__ import annotations

import time
from collections import Counter

from common.errors import ProcessError, SettingsError
from common.journal import Follower, Journal
from server.deploy.control import FINISHED, Control
from server.deploy.members import synchronise
from server.deploy.superlink import CoordinatorProcesses
from server.provision.consortium import Consortium

CARE_SECONDS = 2.0
"""Between two looks."""


class Watch:
    """Looks after what runs beside the run."""

    def __init__(
        self, consortium: Consortium, processes: CoordinatorProcesses, control: Control,
        journal: Journal, flower_run: int,
    ) -> None:  # fmt: skip
        self._consortium = consortium
        self._processes = processes
        self._control = control
        self._journal = journal
        self._flower_run = flower_run
        self._keys = self._key_files()
        self._calls = Follower(consortium.proxy_log, from_start=False)
        self._last = time.monotonic()

    def look(self) -> str | None:
        """Look, where it is time to; what Flower says of a run that it finished, else ``None``."""
        if time.monotonic() - self._last < CARE_SECONDS:
            return None
        self._last = time.monotonic()
        for name in self._processes.revive():
            self._journal.audit("restarted", process=name)
            self._journal.say(f"the {name} had ended and was started again")
        self._audit_refused_calls()
        try:
            return self._look_inside()
        except (ProcessError, SettingsError) as error:  # it may be better the next time
            self._journal.output("fedrounds", f"looking after the run: {error}")
            return None

    def _look_inside(self) -> str | None:
        keys = self._key_files()
        if keys != self._keys:
            synchronise(self._control, Consortium.open(self._consortium.folder), self._journal)
            self._processes.reload_proxy()
            self._keys = keys
        for status in self._control.runs():
            if status.run_id == self._flower_run and status.status == FINISHED:
                return status.details or "no reason given"
        return None

    def _audit_refused_calls(self) -> None:
        """One line for equal calls since the last look: who repeats them fills no disk."""
        refused = Counter(
            (line["address"], line["method"], line["uri"], line["status"])
            for line in self._calls.new()
            if line["status"].startswith("4")
        )
        for (address, method, uri, status), times in refused.items():
            self._journal.audit(
                "refused a call",
                address=address,
                method=method,
                uri=uri,
                status=status,
                times=times,
            )

    def _key_files(self) -> list[tuple[str, int]]:
        """The files that say who may connect; any change is a reason to look at them again."""
        folder = self._consortium.folder
        patterns = ("keys/*.pub", "revoked/*.pub", "admitted.map")
        paths = [path for pattern in patterns for path in folder.glob(pattern)]
        return sorted((str(path), path.stat().st_mtime_ns) for path in paths)
