"""A message's content as bytes, and back: Flower's own protobuf, as it crosses the network."""

from __future__ import annotations

from flwr.app import RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as ProtoRecordDict


def to_bytes(content: RecordDict) -> bytes:
    data: bytes = recorddict_to_proto(content).SerializeToString(deterministic=True)
    return data


def from_bytes(data: bytes) -> RecordDict:
    return recorddict_from_proto(ProtoRecordDict.FromString(data))
