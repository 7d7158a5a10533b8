"""Lines of text in blocks, as UTF-8 with one kind of line end, whatever a file was written in."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from os import SEEK_END
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
END_BYTES: Final = 256 << 10
"""Bytes that a glance reads at each end of a file; of a file of four times as many or fewer it reads everything."""
_OF_ONE_BYTE: Final = ("cp125", "iso8859", "ascii", "latin")
"""Beginnings of the names of encodings in which every byte is a character, in addition to UTF-8."""
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


def texts(file: ArchiveFile, encoding: str | None) -> Iterator[bytes]:
    """Yield a file as UTF-8, some megabytes at a time; each part is whole lines, and every line ends with LF.

    Args:
        file: a file of text, whose lines end with CR, LF or both.
        encoding: what it was written in; a byte order mark or UTF-8 if None.

    Raises:
        SourceError: it is no text in that encoding.
    """
    with opened(file) as stream:
        head = stream.read(_HEAD_BYTES)
        known = encoding_of(head, encoding)
        yield from _texts(stream, head + stream.read(_BLOCK_BYTES), known)


def ends_of(file: ArchiveFile, encoding: str | None) -> tuple[bytes, bytes] | None:
    """Return the first and the last lines of a large file as `texts` would yield them.

    Args:
        file: a file of text.
        encoding: what it was written in; a byte order mark or UTF-8 if None.

    Returns:
        Some thousand lines each; None if the file is small, packed, or cannot be read from anywhere in it.
    """
    if file.is_packed or file.most_bytes < 4 * END_BYTES:
        return None
    with file.path.open("rb") as stream:
        head = stream.read(END_BYTES)
        known = encoding_of(head[:_HEAD_BYTES], encoding)
        if not known.startswith(("utf-8", *_OF_ONE_BYTE)):
            return None
        stream.seek(-END_BYTES, SEEK_END)
        first, last = (_lf(each.decode(known, "replace").encode()) for each in (head, stream.read()))
    inner, outer = first.rfind(b"\n") + 1, last.find(b"\n") + 1
    return (first[:inner], last[outer:].rstrip(b"\n") + b"\n") if inner and outer else None


def _lf(text: bytes) -> bytes:
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text


def lines_of(text: bytes, first: int) -> pl.DataFrame:
    """Return the lines of a text: columns `LINE` and `NUMBER`.

    Args:
        text: whole lines as `texts` yields them; bytes that are not UTF-8 become `REPLACED`.
        first: number of its first line.
    """
    return _lines(text).with_row_index(NUMBER, offset=first)


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
        ends = _lf(rest.removesuffix(held))
        cut = len(ends) if at_end else ends.rfind(b"\n") + 1
        if found := ends[:cut]:
            yield found if found.endswith(b"\n") else found + b"\n"
        rest = ends[cut:] + held
