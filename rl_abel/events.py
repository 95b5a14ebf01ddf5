"""TensorBoard's event files, read a dozen times as fast as by TensorBoard's own reader without TensorFlow."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

LENGTH = struct.Struct("<Q")
CHECKSUM = 4


def scalars(path: Path, prefix: str) -> Iterator[tuple[int, str, float]]:
    """Yield (step, tag, value) of the scalars whose tag has the prefix, in the order of the file.

    A file that is cut off or damaged is read as far as it goes. Checksums are not looked at: in
    Python they take most of the time.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from tensorboard.compat.proto.event_pb2 import Event

    mark = prefix.encode()
    for record in records(path.read_bytes()):
        # Most records are of other tags, and to search bytes is much cheaper than to parse them.
        if mark in record:
            try:
                event = Event.FromString(record)
            except DecodeError:
                return
            for value in event.summary.value:
                if value.tag.startswith(prefix) and value.HasField("simple_value"):
                    yield event.step, value.tag, value.simple_value


def records(data: bytes) -> Iterator[bytes]:
    """Yield the whole records of an event file: length, its checksum, data, its checksum, and so on."""
    start = LENGTH.size + CHECKSUM
    while start <= len(data):
        (length,) = LENGTH.unpack_from(data, start - LENGTH.size - CHECKSUM)
        if start + length + CHECKSUM > len(data):
            return
        yield data[start : start + length]
        start += length + CHECKSUM + LENGTH.size + CHECKSUM
