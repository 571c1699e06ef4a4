"""Pictures of 100 to 200 megapixels are read within 1 GiB of memory, however many threads decode."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

SCAN = """
import sys
from pathlib import Path
from thawline.data.collection import Collection, Item
from thawline.data.content import file_at
from thawline.data.picture_files import open_picture
from thawline.data.scan import scan
from thawline.data.transform import Transform

paths = sorted(Path(sys.argv[1]).iterdir())
items = tuple(Item(path.name, "a") for path in paths)
collection = Collection(items, lambda index: open_picture(file_at(paths[index])))
transform = Transform(224, 256, 3, "crop", "bilinear", (0.5,) * 3, (0.25,) * 3)
found = scan(collection, transform, Path(sys.argv[2]))
print(found.pictures[["path", "width", "height"]].to_csv(index=False), end="")
print(*(each.path + ": " + each.detail for each in found.dropped), sep="\\n")
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured through /proc")
def test_memory_and_silence(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    largest = Image.new("RGB", (16000, 12500), (200, 30, 30))
    for name in ("1.png", "3.jpg"):
        largest.save(folder / name, compress_level=1)
    shutil.copy(folder / "1.png", folder / "2.png")
    largest.save(folder / "5.tif", compression="tiff_lzw")
    Image.new("RGB", (16000, 6300), (20, 30, 230)).save(folder / "6.jpg", progressive=True)
    Image.new("L", (14000, 14000), 99).save(folder / "7.png", compress_level=1)
    Image.new("L", (15000, 14000), 99).save(folder / "8.png", compress_level=1)
    done = subprocess.run(
        [sys.executable, "-c", SCAN, str(folder), str(tmp_path)], capture_output=True, text=True, check=True
    )
    *lines, dropped, peak = done.stdout.splitlines()
    assert lines == [
        "path,width,height",
        *(f"{name},4000,3125" for name in ("1.png", "2.png", "3.jpg", "5.tif")),
        "6.jpg,8000,3150",
        "7.png,3500,3500",
    ]
    assert dropped == "8.png: the picture is too large: 210 megapixels, and at most 200 are read"
    assert int(peak) < 2**20, "KiB"
    assert "attack" not in done.stderr
    assert "Warning" not in done.stderr
