"""The model as one program: pictures as bytes in, the answer out, and everything between inside."""

import json
from pathlib import Path

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from thawline.data.batches import normalised
from thawline.data.transform import Transform
from thawline.models.answer import Answer
from thawline.models.card import ModelCard

INPUT, OUTPUTS = "pictures", ("probabilities", "label", "unknown")

LARGEST = 2_000_000_000
"""Bytes of weights that an ONNX file holds: protobuf's limit of 2 GiB, with room for the steps."""


class FromBytes(nn.Module):
    """Answers `(n, size, size, channels)` uint8 pictures as `Answer` does: probabilities `(n, classes)`, the
    index of the label `(n,)` int64, the unknown score `(n,)`."""

    def __init__(self, answer: Answer, transform: Transform) -> None:
        super().__init__()
        self.answer, self.transform = answer, transform

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Normalise the pictures and answer them."""
        found: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
        found = self.answer(normalised(pictures.permute(0, 3, 1, 2).float(), self.transform))
        return found


def as_program(answer: Answer, transform: Transform) -> ExportedProgram:
    """Return `answer` with its preprocessing as a program for batches of any size, in evaluation mode: in a
    program that is fixed."""
    size, channels = transform.size, transform.channels
    # batches of one picture would be taken for the only ones there are
    example = torch.zeros(2, size, size, channels, dtype=torch.uint8)
    module = FromBytes(answer, transform).eval()
    with torch.no_grad():
        program = torch.export.export(module, (example,), dynamic_shapes=({0: Dim("batch")},))
    _forget_places(program)
    return program


def about(card: ModelCard) -> dict[str, str]:
    """Return what a model says of itself, each value in JSON: its labels in the order of the
    probabilities, how a picture is resized and cut before it is given, and above which score it is unknown
    (null: none is)."""
    unknown = card.answering and card.answering.unknown
    values = {
        "labels": list(card.classes),
        "transform": card.transform.to_dict(),
        "unknown_above": unknown.threshold if unknown else None,
    }
    return {name: json.dumps(value) for name, value in values.items()}


def write_onnx(path: Path, program: ExportedProgram, card: ModelCard) -> None:
    """Write the program as ONNX, by PyTorch's dynamo exporter, with what it says of itself as metadata.

    Of more than `LARGEST` bytes, the weights lie beside it, in a file of its name and `.data`, where runtimes
    look for them.
    """
    import onnx_ir

    made = torch.onnx.export(
        program, input_names=[INPUT], output_names=list(OUTPUTS), dynamo=True, verbose=False
    )
    assert made is not None
    model = made.model
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.outputs):
        value.metadata_props.clear()
    model.metadata_props.update(about(card))
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = (each.const_value for each in model.graph.initializers.values())
    large = sum(each.nbytes for each in weights if each is not None) > LARGEST
    onnx_ir.save(model, path, external_data=f"{path.name}.data" if large else None)


def write_program(path: Path, program: ExportedProgram, card: ModelCard) -> None:
    """Write the program for `torch.export.load`, with what it says of itself as extra files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.export.save(program, path, extra_files={f"{name}.json": text for name, text in about(card).items()})


def _forget_places(program: ExportedProgram) -> None:
    """Take from every step which lines of which files it came from: paths of this machine for all to read."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)
