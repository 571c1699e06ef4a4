#!/usr/bin/env bash
# torch.fx's `fuse`, which makes BatchNorm part of convolutions, does so for few of timm's networks, and without a word.
#
# Seen with torch 2.15.0, torchvision 0.29.2 and timm 1.0.31, Python 3.11, Linux, on a CPU:
# torch.fx.experimental.optimization.fuse looks for pairs of exactly nn.Conv2d and nn.BatchNorm2d. In most of timm's
# convolutional networks the layer is BatchNormAct2d, a subclass with the activation inside; it lies outside of
# torch.nn, so tracing looks into it and finds a function, not a layer. `fuse` returns a GraphModule as always, in which
# nothing is fused: of mobilenetv2_100's 52 normalisations 52 are still computed, of regnety_002's 44 all 44. timm's
# resnet18, whose layers are plain ones, loses all of its 20, as torchvision's mobilenet_v2 does its 52.
# Count the batch_norm operations of what comes out (here by torch.profiler), or compare speeds.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.15.0 torchvision==0.29.2 timm==1.0.31
cat >"$folder/count.py" <<'PY'
import sys
import warnings

import timm
import torch
import torchvision
from torch.fx.experimental.optimization import fuse

warnings.simplefilter("ignore")
EXPECTED = {
    "timm mobilenetv2_100": (52, 52),
    "timm regnety_002": (44, 44),
    "timm resnet18": (20, 0),
    "torchvision mobilenet_v2": (52, 0),
}


def computed(network: torch.nn.Module) -> int:
    """Count the normalisations of one forward pass."""
    with torch.no_grad(), torch.profiler.profile() as profile:
        network(torch.zeros(1, 3, 64, 64))
    return sum(row.count for row in profile.key_averages() if row.key == "aten::batch_norm")


found = {}
for name in EXPECTED:
    library, model = name.split()
    made = timm.create_model(model) if library == "timm" else torchvision.models.get_model(model)
    network = made.eval()
    found[name] = (computed(network), computed(fuse(network)))
    print(f"{name}: {found[name][0]} normalisations, {found[name][1]} after fuse")
sys.exit(found != EXPECTED)
PY
"$folder/venv/bin/python" "$folder/count.py" 2>"$folder/errors" || {
    status=$?
    cat "$folder/errors" >&2
    exit "$status"
}
