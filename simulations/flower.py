"""The few internals of Flower that running it in one process needs, in one place.

Flower 1.41 reads a message's origin from ``TaskIdentity``, a class of its runtime. A deployed
process has it set by the runtime; here it is set by hand. Messages cross to worker processes as
the same protobuf bytes that a deployed Flower would send.
"""

from __future__ import annotations

import uuid

from flwr.app import Context, Message, RecordDict
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.supercore.task_identity import TaskIdentity

SERVER_NODE = 1


def become_server(run_id: int = 1) -> None:
    """Let this process create messages as a run's ServerApp."""
    TaskIdentity.task_id = 1
    TaskIdentity.run_id = run_id
    TaskIdentity.node_id = SERVER_NODE


def give_message_id(message: Message) -> str:
    """Do what a SuperLink does when a message is pushed: name it."""
    message_id = uuid.uuid4().hex
    message.metadata.__dict__["_message_id"] = message_id
    return message_id


def to_bytes(message: Message) -> bytes:
    data: bytes = message_to_proto(message).SerializeToString()
    return data


def from_bytes(data: bytes) -> Message:
    return message_from_proto(ProtoMessage.FromString(data))


def node_context(node_id: int, site: str) -> Context:
    """A fresh context: handlers find their site's folder in it, and nothing else."""
    return Context(
        run_id=1, node_id=node_id, node_config={"site": site}, state=RecordDict(), run_config={}
    )
