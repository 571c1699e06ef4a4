"""Label pictures of 8 bits with model.onnx beside this file: python predict.py PICTURE ...

Needs Pillow, numpy and onnxruntime, and nothing else.
"""

import json
import re
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(Path(__file__).with_name("model.onnx"))
about = {name: json.loads(text) for name, text in session.get_modelmeta().custom_metadata_map.items()}


def read(path, fit, resize, size, interpolation, channels, **_):
    """Return a picture as the model is given it: upright, transparency on white, resized and cut."""
    with Image.open(path) as opened:
        # of 16 bits in colour Pillow would show the upper half
        if opened.mode.startswith(("I", "F")) or re.search(";16[BLN]", str(opened.tile)):
            raise ValueError(f"{path} has more than 8 bits")
        picture = ImageOps.exif_transpose(opened)
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    picture = picture.convert("RGB").convert("L" if channels == 1 else "RGB")
    if fit == "squash":
        sides = [resize, resize]
    else:
        edge = (min if fit == "crop" else max)(picture.size)
        sides = [max(resize * side // edge, 1) for side in picture.size]
    picture = picture.resize(sides, Image.Resampling[interpolation.upper()])
    for kept in (resize, size) if fit == "pad" else (size,):  # what lies outside a picture is black
        left, top = (round((side - kept) / 2) for side in picture.size)
        picture = picture.crop((left, top, left + kept, top + kept))
    return np.asarray(picture, np.uint8).reshape(size, size, channels)


def answer(paths):
    """Return what the model says of a batch of pictures, one array for each of its outputs."""
    pictures = np.stack([read(path, **about["transform"]) for path in paths])
    return session.run(None, {"pictures": pictures})


if __name__ == "__main__":
    for path in sys.argv[1:]:
        probabilities, label, unknown = (output[0] for output in answer([path]))
        known = about["unknown_above"] is None or unknown <= about["unknown_above"]
        print(
            path, about["labels"][label], f"{probabilities[label]:.4f}", "" if known else "unknown", sep="\t"
        )
