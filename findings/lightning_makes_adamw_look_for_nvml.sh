#!/usr/bin/env bash
# On a machine without an NVIDIA GPU, importing Lightning changes what every later optimizer step of PyTorch does.
#
# Seen with torch 2.15.0 and pytorch-lightning 2.6.6, Python 3.11, Linux, no GPU: `import pytorch_lightning` sets
# PYTORCH_NVML_BASED_CUDA_CHECK=1 for the whole process. From then on torch.cuda.is_available() does not ask the
# CUDA runtime, whose answer is remembered, but tries to load libnvidia-ml.so.1 anew, and AdamW asks
# is_available() once in every step. So a step that needs no GPU searches the disk for NVIDIA's library:
# 0 searches in 50 steps before the import, 50 after it. For a small model this is most of the step
# (a 10 x 512 linear layer: 174 us a fused step without Lightning, 712 us with it, two cores of an Intel Xeon).
# Unsetting the variable after the import restores the quick answer.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.15.0 pytorch-lightning==2.6.6
cat >"$folder/count.py" <<'PY'
import os
import sys

import torch

if "lightning" in sys.argv:
    import pytorch_lightning  # noqa: F401
if "unset" in sys.argv:
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)

if torch.cuda.is_available():
    sys.exit("this machine has a GPU: nothing to see here")
weight = torch.nn.Parameter(torch.zeros(10, 512))
weight.grad = torch.ones_like(weight)
optimizer = torch.optim.AdamW([weight], fused=True)
asked = torch.cuda._device_count_nvml
searches = 0


def counted() -> int:
    global searches
    searches += 1
    return asked()


torch.cuda._device_count_nvml = counted
for _ in range(50):
    optimizer.step()
print(searches)
PY
plain=$("$folder/venv/bin/python" "$folder/count.py")
with=$("$folder/venv/bin/python" "$folder/count.py" lightning)
unset=$("$folder/venv/bin/python" "$folder/count.py" lightning unset)
echo "searches for NVIDIA's library in 50 steps of AdamW: $plain without Lightning, $with with it, $unset with the variable unset"
[ "$plain" = 0 ] && [ "$with" = 50 ] && [ "$unset" = 0 ]
