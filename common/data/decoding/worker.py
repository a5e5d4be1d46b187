"""The worker process: reads one file after another within limits, and never a pickle.

    python -P -m common.data.decoding.worker LIMITS

LIMITS is JSON. A request is a line of JSON on the standard input; a reply is a line of JSON on the
standard output, and the image's bytes where it has some. Both carry the request's ``number``.

    {"path": …, "size": 64, "channels": 1, "rendering": {…}}   {"shape": […]} and the bytes
    {"path": …, "keywords": […]}                               {"header": {…}}
    {"path": …, "frames": true}                                {"frames": 5}
    {"path": …, "inspect": true, "rendering": {…}}             {"inspection": {…}}
                                                               {"refused": reason}

Processor time is limited by a timer of the kernel whose signal ends the process wherever it is, in
a codec's loop too; memory by the address space. Either way the file at hand is refused, and the
parent starts another worker.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import stat
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from common.data.decoding.decode import Wanted, decode
from common.data.decoding.header import count_images, read_facts
from common.data.decoding.inspection import inspect
from common.data.decoding.limits import MB, Limits
from common.data.dicom import Rendering
from common.errors import DataError


def main(words: list[str]) -> None:
    """Serve until the parent closes the pipe."""
    limits = Limits(**json.loads(words[0]))
    requests, replies = _take_pipes()
    _confine(limits)
    for line in requests:
        request = json.loads(line)
        reply, payload = answer(request, limits)
        replies.write(json.dumps({"number": request["number"], **reply}).encode() + b"\n")
        replies.write(payload)
        replies.flush()


def answer(request: Mapping[str, Any], limits: Limits) -> tuple[dict[str, Any], bytes]:
    """Reply to one request: never raises, never says anything of a file but the reason."""
    try:
        data = _read(Path(request["path"]), limits)
        if "keywords" in request:
            return {"header": read_facts(data, request["keywords"], limits)}, b""
        if "frames" in request:
            return {"frames": count_images(data, limits)}, b""
        rendering = Rendering(**request["rendering"])
        if "inspect" in request:
            return {"inspection": inspect(data, rendering, limits)}, b""
        images = decode(data, Wanted(request["size"], request["channels"], rendering), limits)
        return {"shape": images.shape}, images.tobytes()
    except DataError as error:
        return {"refused": str(error)}, b""
    except MemoryError:
        return {"refused": "decoding it takes more memory than a file may"}, b""
    except Exception as error:  # the kind alone: a message could hold values of the file
        return {"refused": f"it cannot be decoded ({type(error).__name__})"}, b""
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _read(path: Path, limits: Limits) -> bytes:
    """The bytes of a regular file; starts the clock."""
    try:
        # Not to wait for the other end of a named pipe.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:
            facts = os.fstat(stream.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise DataError("it is no regular file")
            if facts.st_size > limits.file_bytes:
                raise DataError(f"it is larger than {limits.file_bytes // MB} MB")
            signal.setitimer(signal.ITIMER_PROF, limits.seconds_for(facts.st_size))
            return stream.read()
    except OSError as error:
        raise DataError(f"it cannot be opened: {error.strerror}") from error


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep the pipes for this protocol: what a codec prints goes nowhere."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    return requests, replies


def _confine(limits: Limits) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process, by its pipe
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold a patient's image
    if sys.platform == "linux":  # macOS accepts the limit and does not keep it
        resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", Image.DecompressionBombWarning)


if __name__ == "__main__":
    main(sys.argv[1:])
