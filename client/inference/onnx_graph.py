"""A model as an ONNX graph that takes images as they are, and says what it is.

The input ``images`` is uint8 (N, C, size, size) in 0 to 255. Normalisation and the step from logits
to probabilities stand in the graph. What cannot (how a file becomes such an image) is described in
the file's metadata, beside the labels.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from client.inference.trained import TrainedModel, probabilities_of
from common.data.transforms import normalise
from common.model_file import ModelFile

INPUT, OUTPUTS = "images", ("logits", "probabilities")


class Graph(nn.Module):
    """What is exported: uint8 (N, C, size, size) to logits and probabilities, float32 (N, K)."""

    def __init__(self, trained: TrainedModel) -> None:
        super().__init__()
        self.model, self.file = trained.model, trained.file

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.model(normalise(images))
        return logits, probabilities_of(logits, self.file)


def to_onnx(trained: TrainedModel) -> bytes:
    """The bytes of an ONNX file; its metadata are :func:`metadata_of`."""
    file = trained.file
    example = torch.zeros((2, file.channels, file.image_size, file.image_size), dtype=torch.uint8)
    program = torch.onnx.export(
        Graph(trained).eval(),
        (example,),
        dynamo=True,
        verbose=False,
        input_names=[INPUT],
        output_names=list(OUTPUTS),
        dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
    )
    assert program is not None
    proto = program.model_proto
    _forget_the_machine(proto)
    for key, value in metadata_of(file).items():
        proto.metadata_props.add(key=key, value=value)
    data: bytes = proto.SerializeToString()
    return data


def metadata_of(file: ModelFile) -> dict[str, str]:
    """What a user of the graph has to know: JSON texts by key."""
    preprocessing = {
        "channels": "grey" if file.channels == 1 else "RGB",
        "resize": file.resize,
        "size": [file.image_size, file.image_size],
        "interpolation": "bilinear, antialiased (Pillow)",
        "levels": [0, 255],
        "in_the_graph": {"mean": file.normalisation.mean, "std": file.normalisation.std},
    }
    point = file.operating_point
    values = {
        "program": "fedrounds",
        "run_id": file.run_id,
        "experiment": file.experiment,
        "model": file.model.name,
        "classes": file.classes,
        "multi_label": bool(file.multi_label),
        "negative_label": file.negative_label,
        "operating_point": point and point.to_json(file.as_experiment().classes),
        "preprocessing": preprocessing,
    }
    return {key: json.dumps(value) for key, value in values.items()}


def _forget_the_machine(proto: Any) -> None:
    """Take out what PyTorch notes of its source files: paths of the machine that exports."""
    graph = proto.graph
    parts: Iterable[Any] = (
        proto, graph, *graph.node, *graph.input, *graph.output, *graph.value_info,
        *graph.initializer, *proto.functions,
    )  # fmt: skip
    for part in parts:
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
