"""Publish responses as bytes: their head, and where the notifications in them begin. Pure.

asyncua decodes a response to a Python object per value, which bounds how many values a core can receive. So responses
are taken as bytes, and only their heads are decoded on arrival.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary

DATA_CHANGE: Final = ua.NodeId(ua.ObjectIds.DataChangeNotification_Encoding_DefaultBinary)
STATUS_CHANGE: Final = ua.NodeId(ua.ObjectIds.StatusChangeNotification_Encoding_DefaultBinary)

UNDECODABLE: Final = (struct.error, IndexError, ValueError, OverflowError, ua.UaError)
"""What decoding raises if bytes are not what they should be."""


class Message(NamedTuple):
    """A publish response."""

    body: bytes
    """A binary `ua.PublishResult`: OPC UA Part 4, 5.14.5; Part 6, 5.2."""
    start: int
    """Where the array of notifications begins."""
    subscription: int
    sequence: int
    """Number of the message; the next one, if this is a keep-alive."""
    notifications: int
    """Number of elements of that array; 0 in a keep-alive."""
    received: datetime
    available: tuple[int, ...] = ()
    """Sequence numbers of the messages that the server can send again: those not acknowledged."""
    link: int = 0
    """Number of the link on which it arrived."""


class Part(NamedTuple):
    """A notification in a message."""

    kind: ua.NodeId
    start: int
    end: int


def message_of(response: Buffer, received: datetime) -> Message:
    """Decode the head of a publish response.

    Raises:
        ua.UaStatusCodeError: the server answered with an error.
        struct.error, ua.UaError: it is not a publish response.
    """
    nodeid_from_binary(response)
    struct_from_binary(ua.ResponseHeader, response).ServiceResult.check()
    return _message(response.read(len(response)), received)


def republished_of(response: Buffer, subscription: int, received: datetime) -> Message:
    """Decode the head of the response to a Republish request: a message that was sent before.

    Raises:
        ua.UaStatusCodeError: the server does not have it any more.
        struct.error, ua.UaError: it is not such a response.
    """
    nodeid_from_binary(response)
    struct_from_binary(ua.ResponseHeader, response).ServiceResult.check()
    notification = response.read(len(response))
    # The same as a publish response without sequence numbers, results and diagnostics.
    body = struct.pack("<IiB", subscription, 0, 0) + notification + struct.pack("<ii", 0, 0)
    return _message(body, received)


def _message(body: bytes, received: datetime) -> Message:
    subscription, number = struct.unpack_from("<Ii", body)
    available = struct.unpack_from(f"<{max(number, 0)}I", body, 8)
    at = 8 + 4 * len(available) + 1  # past MoreNotifications
    sequence, _, count = struct.unpack_from("<Iqi", body, at)
    return Message(body, at + 16, subscription, sequence, max(count, 0), received, available)


def parts_of(message: Message) -> Iterator[Part]:
    """Yield the notifications in a message. Raises one of `UNDECODABLE` where it does not hold them."""
    at = message.start
    for _ in range(message.notifications):
        buffer = Buffer(message.body, at)
        kind = nodeid_from_binary(buffer)
        (encoding,) = buffer.read(1)
        (size,) = struct.unpack("<i", buffer.read(4))
        if encoding != 1 or not 0 <= size <= len(buffer):
            raise ValueError(f"a notification of {size} bytes in encoding {encoding}; {len(buffer)} bytes are left")
        at = buffer.cur_pos + size
        yield Part(kind, buffer.cur_pos, at)
