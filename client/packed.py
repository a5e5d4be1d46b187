"""A mod of the ClientApp: a packed message is unpacked, and its answer packed."""

from __future__ import annotations

from flwr.app import Context, Message
from flwr.clientapp.typing import ClientAppCallable

from common.errors import MessageError
from common.messages import pack_refusal
from common.packing import is_packed, pack, unpack


def packing_mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Answer in kind: a simulation packs nothing, a deployed server everything."""
    if not is_packed(message.content):
        return call_next(message, context)
    try:
        message.content = unpack(message.content)
    except MessageError as error:
        return Message(pack(pack_refusal(error.code)), reply_to=message)
    answer = call_next(message, context)
    answer.content = pack(answer.content)
    return answer
