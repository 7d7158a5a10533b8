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
    body = response.read(len(response))
    subscription, available = struct.unpack_from("<Ii", body)
    at = 8 + 4 * max(available, 0) + 1  # past the sequence numbers that can be sent again, and MoreNotifications
    sequence, _, count = struct.unpack_from("<Iqi", body, at)
    return Message(body, at + 16, subscription, sequence, max(count, 0), received)


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
