"""Lines of text in blocks, as UTF-8 with one kind of line end, whatever a file was written in."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import IO, Final

import polars as pl

from bridge.drivers.files.opening import ArchiveFile, opened
from historian.errors import SourceError

LINE: Final = "#line"
NUMBER: Final = "#number"
"""Columns of a block: the line without its end, and its number from 1."""

REPLACED: Final = "\N{REPLACEMENT CHARACTER}"
"""Stands for bytes that the encoding does not have."""

_BLOCK_BYTES: Final = 32 << 20
_HEAD_BYTES: Final = 4096
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks, the longer before what they begin with."""
_NEVER: Final = "\x01"
"""A separator that no text holds."""


def blocks(file: ArchiveFile, encoding: str | None) -> Iterator[pl.DataFrame]:
    """Yield the lines of a file, some megabytes at a time: columns `LINE` and `NUMBER`. Lines end at CR, LF or both.

    Args:
        file: a file of text.
        encoding: what it was written in; a byte order mark or UTF-8 if None. Other bytes become `REPLACED`.

    Raises:
        SourceError: it is no text in that encoding.
    """
    first = 1
    with opened(file) as stream:
        head = stream.read(_HEAD_BYTES)
        for text in _texts(stream, head, encoding_of(head, encoding)):
            lines = _lines(text)
            yield lines.with_row_index(NUMBER, offset=first)
            first += lines.height


def _lines(text: bytes) -> pl.DataFrame:
    if not text.strip(b"\n"):  # Polars finds no columns in it
        return pl.DataFrame({LINE: [""] * text.count(b"\n")}, schema={LINE: pl.String})
    return pl.read_csv(
        text,
        has_header=False,
        separator=_NEVER,
        quote_char=None,
        schema={LINE: pl.String},
        encoding="utf8-lossy",
        truncate_ragged_lines=True,
        empty_string_is_null=False,
    )


def encoding_of(head: bytes, encoding: str | None) -> str:
    """Return the encoding of a file that begins like this.

    Raises:
        SourceError: it looks like UTF-16 without a byte order mark, which may be one of two.
    """
    marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    if marked is not None and (encoding is None or encoding.replace("-", "") in ("utf8", "utf16", "utf32")):
        return marked
    if encoding is not None:
        return encoding
    if b"\0" in head:
        odd, even = head[1::2].count(0), head[::2].count(0)
        if max(odd, even) * 4 < len(head):
            raise SourceError("it is no text: it holds bytes that are zero; see format")
        likely = "utf-16-le" if odd > even else "utf-16-be"
        raise SourceError(f'it is not UTF-8; it looks like {likely}: say encoding = "{likely}"')
    return "utf-8"


def _texts(stream: IO[bytes], head: bytes, encoding: str) -> Iterator[bytes]:
    """Yield UTF-8 that ends at a line's end, the last one too."""
    plain = encoding in ("utf-8", "utf-8-sig")
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    rest, at_end = b"", False
    chunk = head.removeprefix(codecs.BOM_UTF8) if plain else head
    while not at_end:
        more = stream.read(_BLOCK_BYTES)
        at_end = not more
        chunk = chunk if plain else decoder.decode(chunk, final=at_end).encode()
        rest, chunk = rest + chunk, more
        held = b"\r" if rest.endswith(b"\r") and not at_end else b""  # its line feed may follow
        ends = (rest[: len(rest) - len(held)]).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        cut = len(ends) if at_end else ends.rfind(b"\n") + 1
        if ends[:cut]:
            yield ends[:cut] if ends[:cut].endswith(b"\n") else ends[:cut] + b"\n"
        rest = ends[cut:] + held
