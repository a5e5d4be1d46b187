"""Child processes that end with their parent, on both sides of a federation.

1. each child has a session of its own, so that Ctrl-C reaches this process alone, and whatever
   a child starts can be ended with it
2. what a child prints goes to the log, a line at a time
3. on the way out every child gets SIGTERM; what is left after :data:`GRACE_SECONDS` is killed
4. should this process be killed itself, Linux ends its children (``PR_SET_PDEATHSIG``). Other
   systems have no such thing: there a new start finds the port taken, and says so.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import ProcessError, SettingsError
from common.journal import Journal

GRACE_SECONDS = 6.0
"""Flower's own processes force themselves to end 5 s after SIGTERM."""

LOCK_SECONDS = 1.0
"""How long a start waits for a lock: whoever asks if it is held has it for a moment."""

_PR_SET_PDEATHSIG = 1


@dataclass
class Child:
    """A process that was started, and what it printed last."""

    name: str
    process: subprocess.Popen[bytes]
    last_lines: list[str] = field(default_factory=list)
    reader: threading.Thread | None = None

    @property
    def exit_code(self) -> int | None:
        """Its exit status, or ``None`` while it runs."""
        return self.process.poll()

    def words(self) -> str:
        """The last it printed, for a message."""
        if self.reader is not None and self.exit_code is not None:
            self.reader.join(timeout=1)
        return " ".join(self.last_lines)


class Children:
    """The processes that this one started; a context manager that ends them all."""

    KEPT_LINES = 12

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._children: list[Child] = []

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(
        self,
        name: str,
        words: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        on_line: Callable[[str], None] | None = None,
        end_with: signal.Signals = signal.SIGKILL,
    ) -> Child:
        """Start a process.

        Args:
            name: what its lines are logged under.
            words: the command.
            environment: its whole environment.
            folder: where it runs.
            on_line: is told of each line that it prints, in a thread.
            end_with: the signal that it gets where this process is killed.

        Raises:
            SettingsError: where there is no such command.
        """
        try:
            process = subprocess.Popen(
                words,
                env=dict(environment),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # 1
                preexec_fn=end_with_parent(end_with),  # 4
            )
        except FileNotFoundError as error:
            raise SettingsError(f"'{words[0]}' is not installed here") from error
        child = Child(name, process)
        child.reader = threading.Thread(target=self._read, args=(child, on_line), daemon=True)
        child.reader.start()
        self._children.append(child)
        return child

    def _read(self, child: Child, on_line: Callable[[str], None] | None) -> None:
        assert child.process.stdout is not None
        with child.process.stdout as lines:
            for raw in lines:  # 2
                line = raw.decode("utf-8", errors="replace").rstrip()
                with suppress(OSError):  # a full disk must not stop the process that prints
                    self._journal.output(child.name, line)
                child.last_lines = [*child.last_lines, line][-self.KEPT_LINES :]
                if on_line is not None:
                    on_line(line)

    def stop(self, *children: Child) -> None:
        """End these children, or all of them, with everything that they started."""
        chosen = list(children) or self._children
        for child in chosen:
            _signal_group(child, signal.SIGTERM)  # 3
        deadline = time.monotonic() + GRACE_SECONDS
        for child in chosen:
            with suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.0, deadline - time.monotonic()))
        for child in chosen:
            _signal_group(child, signal.SIGKILL)
            child.process.wait()
            if child.reader is not None:
                child.reader.join(timeout=1)
        self._children = [child for child in self._children if child not in chosen]


def _signal_group(child: Child, number: signal.Signals) -> None:
    """Signal the child's whole group: its own children may outlive it."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.process.pid, number)


def end_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """What a child calls (as ``preexec_fn``) to get ``number`` when this thread ends, on Linux."""
    if not sys.platform.startswith("linux"):
        return None
    prctl, parent = ctypes.CDLL(None, use_errno=True).prctl, os.getpid()

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:  # killed between fork and here
            os._exit(1)

    return prepare


def end_with_starter() -> None:
    """Have this very process killed when the thread that forked or started it ends, on Linux.

    For what :class:`Children` did not start: a fork does not inherit its parent's request.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def wait_until(
    ready: Callable[[], bool], child: Child, seconds: float, what: str, poll: float = 0.1
) -> None:
    """Wait until a child is ready.

    Raises:
        ProcessError: where it ended before, or took longer.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        if child.exit_code is not None:
            raise ProcessError(f"{what} did not start: {child.words()}")
        if time.monotonic() > deadline:
            raise ProcessError(f"{what} was not ready after {seconds:.0f} s: {child.words()}")
        time.sleep(poll)


def is_listening(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a TCP port answers."""
    with suppress(OSError), socket.create_connection((host, port), timeout=1.0):
        return True
    return False


def free_port() -> int:
    """A port of loopback that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def new_secret(path: Path) -> Path:
    """Write 32 random bytes: what two processes of one machine share, for one start of them.

    Flower's SuperExec proves itself with it. Without it any user of the machine could take the
    SuperExec's place, and be handed messages.
    """
    path.unlink(missing_ok=True)
    write_secret(path, os.urandom(32))
    return path


def write_secret(path: Path, data: bytes) -> None:
    """Write a new file that this user alone can read, from its first byte on."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


@contextmanager
def only_one(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file: two processes must never serve one folder.

    Raises:
        SettingsError: where another process holds it.
    """
    deadline = time.monotonic() + LOCK_SECONDS
    with path.open("a") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise SettingsError(f"{what} runs already for {path.parent}") from error
            time.sleep(0.1)
        yield


def is_held(path: Path) -> bool:
    """Whether a process holds the lock of :func:`only_one`."""
    if not path.exists():
        return False
    with path.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextmanager
def terminated_like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that everything is put away."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
