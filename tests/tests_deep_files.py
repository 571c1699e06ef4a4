"""Files that Pillow cannot write, byte by byte: TIFF of any kind of sample, PNG of 16 bits in colour."""

import struct
import zlib

import numpy as np

_FORMATS = {"u": 1, "i": 2, "f": 3}
_RAW, _DEFLATE = 1, 8
_SHORT, _LONG = 3, 4


def tiff(
    values: np.ndarray,
    photometric: int = 1,
    *,
    order: str = "<",
    deflate: bool = False,
    planar: bool = False,
    tags: dict[int, tuple[int, ...]] | None = None,
) -> bytes:
    """Make a TIFF of `(h, w)` or `(h, w, samples)` in one strip (one for each sample where `planar`).

    photometric: 0 white is zero, 1 black is zero, 2 RGB, 3 palette, 5 CMYK, 6 YCbCr, 8 CIELab. order: < or >.
    tags: others, short integers, or in place of those made here; an empty value leaves a tag out.
    """
    values = values if values.ndim == 3 else values[..., None]
    height, width, samples = values.shape
    stored = values.astype(values.dtype.newbyteorder(order))
    strips = [stored[..., each].tobytes() for each in range(samples)] if planar else [stored.tobytes()]
    strips = [zlib.compress(strip) for strip in strips] if deflate else strips
    starts = np.cumsum([8, *map(len, strips)]).tolist()
    entries = {
        256: (width,),
        257: (height,),
        258: (8 * values.itemsize,) * samples,
        259: (_DEFLATE if deflate else _RAW,),
        262: (photometric,),
        273: tuple(starts[:-1]),
        277: (samples,),
        278: (height,),
        279: tuple(map(len, strips)),
        284: (2 if planar else 1,),
        339: (_FORMATS[values.dtype.kind],) * samples,
        **(tags or {}),
    }
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", starts[-1])
    return head + b"".join(strips) + _directory(entries, starts[-1], order)


def _directory(entries: dict[int, tuple[int, ...]], start: int, order: str) -> bytes:
    present = sorted((tag, value) for tag, value in entries.items() if value)
    rows, behind = b"", b""
    after = start + 2 + 12 * len(present) + 4
    for tag, value in present:
        kind, letter = (_LONG, "I") if tag in (273, 279) else (_SHORT, "H")
        content = struct.pack(f"{order}{len(value)}{letter}", *value)
        if len(content) > 4:
            place, behind = struct.pack(order + "I", after + len(behind)), behind + content
        else:
            place = content.ljust(4, b"\0")
        rows += struct.pack(order + "HHI", tag, kind, len(value)) + place
    return struct.pack(order + "H", len(present)) + rows + bytes(4) + behind


_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def png16(values: np.ndarray, *, chunks: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    """Make a PNG of 16 bits of `(h, w, samples)`: gray, gray and alpha, RGB, RGB and alpha."""
    height, width, samples = values.shape
    rows = values.astype(">u2").reshape(height, -1)
    filtered = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 16, _COLOUR_TYPES[samples], 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(filtered)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    )
