"""A message's content as bytes, and back: Flower's own protobuf, as it crosses the network."""

from __future__ import annotations

from typing import Any

from flwr.app import RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as ProtoRecordDict
from numpy.typing import NDArray

from common.errors import MessageError, ModelError
from common.parameters import from_record


def to_bytes(content: RecordDict) -> bytes:
    data: bytes = recorddict_to_proto(content).SerializeToString(deterministic=True)
    return data


def from_bytes(data: bytes) -> RecordDict:
    return recorddict_from_proto(ProtoRecordDict.FromString(data))


def read_arrays(content: RecordDict, record: str) -> dict[str, NDArray[Any]]:
    """The arrays of one record of a message, by name.

    Raises:
        MessageError: where there is no such record, or an array's bytes cannot be read.
    """
    if record not in content.array_records:
        raise MessageError(f"expected a record '{record}', and there is none")
    try:
        return from_record(content.array_records[record])
    except ModelError as error:
        raise MessageError(str(error)) from error
