"""One object a message, for the network.

Flower 1.41 sends each array of a message as two objects, each with an HTTP call of its own from
the server to the SuperLink, to the SuperNode, to the app, and back: for the smallest model here
some 250 calls a site and round. So a deployed server wraps a message's whole content, as the
protobuf bytes that it is anyway, into one array, and a site answers in kind. What the handlers and
the server's checks see is unwrapped.
"""

from __future__ import annotations

import numpy as np
from flwr.app import Array, ArrayRecord, RecordDict
from google.protobuf.message import DecodeError

from common.errors import MessageError, ModelError
from common.parameters import from_record
from common.wire import from_bytes, to_bytes

RECORD, KEY = "packed", "content"


def is_packed(content: RecordDict) -> bool:
    return RECORD in content.array_records


def pack(content: RecordDict) -> RecordDict:
    """Wrap a message's content."""
    data = np.frombuffer(to_bytes(content), dtype=np.uint8)
    return RecordDict({RECORD: ArrayRecord({KEY: Array(data)})})


def unpack(content: RecordDict) -> RecordDict:
    """Unwrap what :func:`pack` wrapped.

    Raises:
        MessageError: where it is anything else: not one flat array of bytes, or no content in it.
    """
    record = content.array_records.get(RECORD)
    if len(content) != 1 or record is None or list(record) != [KEY]:
        raise MessageError(f"expected one record '{RECORD}' with one array '{KEY}'")
    try:
        data = from_record(record)[KEY]
        if data.dtype != np.uint8 or data.ndim != 1:
            raise MessageError(f"'{RECORD}': expected a flat array of bytes, got {data.dtype}")
        return from_bytes(data.tobytes())
    except (ModelError, DecodeError, ValueError, TypeError) as error:
        raise MessageError(f"'{RECORD}': its bytes hold no message") from error
