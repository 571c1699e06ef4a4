"""Give damaged pictures to the one opener, in a process that is watched: python tools/fuzz_pictures.py

Each must become a picture or a reason in our words, within 5 seconds and 1 GiB. Number and seed decide a
mutant, so any run can be repeated and continued: `--first 7000 --count 1000`.
"""

import argparse
import io
import json
import os
import random
import select
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FORMATS = "JPEG,PNG,TIFF,WEBP,BMP,GIF"
SECONDS, MEBIBYTES = 5.0, 1024
_START_S = 60.0
_EACH_PROCESS = 2000
_NUMBERS = (0, 1, 2, 7, 8, 16, 127, 128, 255, 256, 4096, 32767, 32768, 65535, 2**31 - 1, 2**31, 2**32 - 1)


def main(arguments: list[str] | None = None) -> int:
    """Run the mutants, write what came of them, and return how many were not dealt with as they must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--formats", default=FORMATS, help="default: %(default)s")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.child:
        _open_all(given)
        return 0
    results = []
    last = given.first + given.count
    for first in range(given.first, last, _EACH_PROCESS):
        command = [sys.executable, str(Path(__file__)), "--child", f"--seed={given.seed}"]
        command.append(f"--formats={given.formats}")
        results += watch(command, first, min(first + _EACH_PROCESS, last))
    bad = [each for each in results if is_bad(each)]
    sys.stdout.write(_summary(results) + "".join(f"{json.dumps(each)}\n" for each in bad))
    return len(bad)


def is_bad(result: dict[str, object]) -> bool:
    """Return whether a mutant did what none may do."""
    words = result["outcome"] in ("crash", "hang", "said something") or "exception" in str(result["outcome"])
    return words or float(str(result["seconds"])) > SECONDS or int(str(result["mebibytes"])) > MEBIBYTES


def watch(command: list[str], first: int, last: int) -> list[dict[str, object]]:
    """Run `command --first=… --count=…`, which writes a line of JSON for each number, until all are done.

    Where it dies, says something on the error stream or is silent for too long, that number gets a line
    that says so, and the command is started again behind it.
    """
    results: list[dict[str, object]] = []
    while first < last:
        with tempfile.TemporaryFile() as said:
            told, ended = _watch_one([*command, f"--first={first}", f"--count={last - first}"], said.fileno())
            results += told
            first += len(told)
            if ended != "done" or first < last:
                results.append({"number": first, "outcome": ended, "seconds": 0.0, "mebibytes": 0})
                first += 1
            if os.fstat(said.fileno()).st_size:
                results.append(
                    {"number": first - 1, "outcome": "said something", "seconds": 0.0, "mebibytes": 0}
                )
    return results


def _watch_one(command: list[str], errors: int) -> tuple[list[dict[str, object]], str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment)
    assert process.stdout is not None
    told: list[dict[str, object]] = []
    waiting, allowed = b"", _START_S
    try:
        while select.select([process.stdout], [], [], allowed)[0]:
            chunk = os.read(process.stdout.fileno(), 65536)
            if not chunk:
                return told, "crash" if process.wait() else "done"
            *lines, waiting = (waiting + chunk).split(b"\n")
            told += [json.loads(line) for line in lines]
            allowed = 4 * SECONDS
        return told, "hang"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _open_all(given: argparse.Namespace) -> None:
    import resource

    from thawline.data.content import Content
    from thawline.data.decoding import Decoder
    from thawline.data.picture_files import UnreadablePictureError, open_picture
    from thawline.data.transform import Transform, UnusablePictureError

    resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))
    decoder = Decoder(Transform(64, 64, 3, "crop", "bilinear", (0.5,) * 3, (0.25,) * 3))
    bases = list(originals(given.formats.split(",")))

    def outcome(content: bytes) -> str:
        try:
            with decoder.stretched(lambda: open_picture(Content(lambda _: content))) as (pixels, _):
                decoder.transform.squared(pixels)
        except UnreadablePictureError as error:
            return str(error.reason)
        except UnusablePictureError:
            return "cannot be used"
        except Exception as error:
            return f"exception: {type(error).__name__}"
        return "picture"

    for number in range(given.first, given.first + given.count):
        kind, content = mutant(bases, given.seed, number)
        _forget_peak()
        started = time.perf_counter()
        result = {"number": number, "kind": kind, "outcome": outcome(content)}
        result |= {"seconds": round(time.perf_counter() - started, 3), "mebibytes": _peak()}
        sys.stdout.write(json.dumps(result) + "\n")


def _forget_peak() -> None:
    """Start measuring the most memory anew (Linux, proc(5))."""
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """Return the most memory this process had since `_forget_peak`, in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def originals(formats: list[str]) -> Iterator[tuple[str, bytes]]:
    """Yield small pictures of our own, in the forms that each format has."""
    import numpy as np
    from PIL import Image

    y, x = np.mgrid[0:40, 0:56] / 40
    gray = Image.fromarray((127 + 120 * np.sin(9 * x + 5 * y)).astype(np.uint8))
    colour = Image.merge(
        "RGB", (gray, gray.transpose(Image.Transpose.ROTATE_180), gray.point(lambda v: 255 - v))
    )
    alpha = colour.copy()
    alpha.putalpha(gray)
    wide = Image.fromarray((30000 + 30000 * np.sin(9 * x)).astype(np.uint16))
    floats = Image.fromarray(x.astype(np.float32) / 2)
    exif = Image.Exif()
    exif[0x0112], exif[0x011A], exif[0x010F] = 6, 72.0, "a camera"
    several = {"save_all": True, "append_images": [colour.rotate(90), colour.rotate(180)]}
    lzw, deflate = {"compression": "tiff_lzw"}, {"compression": "tiff_adobe_deflate"}
    forms: dict[str, list[tuple[Image.Image, dict[str, object]]]] = {
        "JPEG": [
            (colour, {}),
            (colour, {"progressive": True, "exif": exif}),
            (gray, {"optimize": True}),
            (colour.convert("CMYK"), {"subsampling": 0, "exif": exif}),
        ],
        "PNG": [
            (colour, {"exif": exif, "dpi": (72, 72)}),
            (alpha, {}),
            (colour.quantize(16), {"transparency": 3}),
            (wide, {}),
            (gray.convert("1"), {}),
            (colour, several),
        ],
        "TIFF": [
            (colour, {"exif": exif}),
            (colour, lzw),
            (colour, deflate),
            (colour, {"compression": "jpeg"}),
            (colour, {"compression": "packbits"}),
            (gray.convert("1"), {"compression": "group4"}),
            (colour.quantize(16), lzw),
            (wide, deflate),
            (floats, {}),
            (colour, several),
        ],
        "WEBP": [(colour, {"exif": exif}), (alpha, {}), (colour, {"lossless": True}), (colour, several)],
        "BMP": [(colour, {}), (colour.quantize(16), {}), (gray.convert("1"), {}), (alpha, {})],
        "GIF": [(colour.quantize(16), {}), (gray, {"transparency": 9}), (colour.quantize(64), several)],
        "AVIF": [(colour, {"exif": exif}), (alpha, {}), (colour, several)],
        "HEIF": [(colour, {"exif": exif.tobytes()}), (alpha, {}), (gray, {})],
    }
    for kind in formats:
        for picture, options in forms[kind]:
            buffer = io.BytesIO()
            if kind == "HEIF":
                import pillow_heif

                pillow_heif.from_pillow(picture).save(buffer, quality=50, **options)
            else:
                picture.save(buffer, kind, **options)
            yield kind, buffer.getvalue()


def mutant(bases: list[tuple[str, bytes]], seed: int, number: int) -> tuple[str, bytes]:
    """Return the format and content of the mutant with this number: one to eight changes of an original."""
    chance = random.Random(f"{seed} {number}")
    kinds = sorted({kind for kind, _ in bases})
    kind = kinds[number % len(kinds)]
    same = [content for each, content in bases if each == kind]
    content = bytearray(chance.choice(same))
    for _ in range(chance.choice((1, 1, 1, 2, 2, 4, 8))):
        chance.choice(_CHANGES)(content, chance, same)
    if kind == "PNG" and chance.random() < 0.7:
        _repair_checksums(content)
    return kind, bytes(content)


def _place(content: bytearray, chance: random.Random) -> int:
    """Choose a place, half of the time in the first 200 bytes, where what decides most is."""
    length = len(content) or 1
    return chance.randrange(min(200, length) if chance.random() < 0.5 else length)


def _flip(content: bytearray, chance: random.Random, _: list[bytes]) -> None:
    if content:
        content[_place(content, chance)] ^= 1 << chance.randrange(8)


def _replace(content: bytearray, chance: random.Random, _: list[bytes]) -> None:
    place = _place(content, chance)
    content[place : place + 1] = chance.randbytes(1)


def _write_number(content: bytearray, chance: random.Random, _: list[bytes]) -> None:
    order, width, place = chance.choice("<>"), chance.choice("BHI"), _place(content, chance)
    number = struct.pack(order + width, chance.choice(_NUMBERS) % 256 ** struct.calcsize(width))
    content[place : place + len(number)] = number


def _cut(content: bytearray, chance: random.Random, _: list[bytes]) -> None:
    del content[_place(content, chance) :]


def _remove(content: bytearray, chance: random.Random, _: list[bytes]) -> None:
    place = _place(content, chance)
    del content[place : place + chance.randrange(1, 64)]


def _repeat(content: bytearray, chance: random.Random, _: list[bytes]) -> None:
    place, length = _place(content, chance), chance.randrange(1, 64)
    content[place:place] = content[place : place + length] * chance.choice((1, 2, 50))


def _splice(content: bytearray, chance: random.Random, same: list[bytes]) -> None:
    place = _place(content, chance)
    content[place:] = chance.choice(same)[place:]


_CHANGES: tuple[Callable[[bytearray, random.Random, list[bytes]], None], ...] = (
    *(_flip, _flip, _replace, _replace, _write_number, _write_number, _write_number),
    *(_cut, _remove, _repeat, _splice),
)


def _repair_checksums(content: bytearray) -> None:
    """Let the chunks of a PNG be found whole, so that what reads them is reached."""
    place = 8
    while place + 12 <= len(content):
        length = int.from_bytes(content[place : place + 4], "big")
        end = place + 8 + length
        if end + 4 > len(content):
            return
        content[end : end + 4] = zlib.crc32(content[place + 4 : end]).to_bytes(4, "big")
        place = end + 4


def _summary(results: list[dict[str, object]]) -> str:
    lines = [f"{len(results)} mutants"]
    for kind in sorted({str(each.get("kind", "")) for each in results}):
        mine = [each for each in results if str(each.get("kind", "")) == kind]
        counts = Counter(str(each["outcome"]) for each in mine).most_common()
        slowest = max(float(str(each["seconds"])) for each in mine)
        largest = max(int(str(each["mebibytes"])) for each in mine)
        lines.append(f"{kind}: {len(mine)}, at most {slowest:.2f} s and {largest} MiB")
        lines += [f"  {count:6d} {outcome}" for outcome, count in counts]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
