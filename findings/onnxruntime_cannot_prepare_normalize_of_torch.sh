#!/usr/bin/env bash
# onnxruntime's preparation for quantising raises TypeError on whatever torch.nn.functional.normalize is part of.
#
# Seen with torch 2.15.0, onnx 1.23.2, onnxscript 0.7.2 and onnxruntime 1.32.0, Python 3.11, Linux, on a CPU:
# `normalize`, which embeddings and cosine similarities are made with, is exported by torch.onnx (dynamo) as ReduceL2,
# Clip, Concat, Expand, Div. The model is valid and runs. quant_pre_process, the step that onnxruntime advises before
# quantize_static, ends with "object of type 'NoneType' has no len()": its inference of symbolic shapes knows no shape for
# the clipped norm and asks for its rank in Expand. The size of the batch, fixed or free, makes no difference.
# With skip_symbolic_shape=True it prepares the model, and it can be quantised.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.15.0 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 sympy==1.14.0
cat >"$folder/normalize.py" <<'PY'
import sys
import warnings

import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization.shape_inference import quant_pre_process

warnings.simplefilter("ignore")


class Embedding(torch.nn.Module):
    def __init__(self, unit: bool) -> None:
        super().__init__()
        self.linear, self.unit = torch.nn.Linear(8, 4), unit

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        found = self.linear(rows)
        return torch.nn.functional.normalize(found) if self.unit else found


def prepared(path: str, **more: bool) -> str:
    try:
        quant_pre_process(path, "prepared.onnx", **more)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "prepared"


ERROR = "TypeError: object of type 'NoneType' has no len()"
rows, failed = torch.rand(2, 8), False
for unit, expected in ((False, "prepared"), (True, ERROR)):
    for free in (False, True):
        shapes = ({0: torch.export.Dim("batch")} if free else {},)
        model = Embedding(unit).eval()
        program = torch.onnx.export(model, (rows,), dynamo=True, dynamic_shapes=shapes, verbose=False)
        program.save("model.onnx")
        session = onnxruntime.InferenceSession("model.onnx")
        (said,) = session.run(None, {session.get_inputs()[0].name: rows.numpy()})
        runs = np.allclose(said, model(rows).detach(), atol=1e-5)
        as_advised, skipping = prepared("model.onnx"), prepared("model.onnx", skip_symbolic_shape=True)
        print(f"normalize {unit}, batch free {free}: runs {runs}; {as_advised}; skipping: {skipping}")
        failed |= not runs or as_advised != expected or skipping != "prepared"
sys.exit(failed)
PY
cd "$folder"
venv/bin/python normalize.py 2>errors || {
    status=$?
    cat errors >&2
    exit "$status"
}
