"""The weights of a BERT that is there as an ONNX file alone, under the names that PyTorch has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from bmc.errors import ArtifactError

_BIAS = ".bias"


def bert_weights(path: Path, prefix: str) -> dict[str, Tensor]:
    """Return the weights of an encoder, fp32, by their names in a BertModel.

    TorchScript's exporter keeps the names of embeddings, norms and biases. It turns the weight of a
    linear layer around and gives it a number for a name: such a weight is known by the bias that is
    added to its product.

    Args:
        path: the ONNX file, whose weights lie inside.
        prefix: prefix of the file's names before the names of a BertModel.

    Raises:
        ArtifactError: the file has no weights of such names.
    """
    graph = onnx.load(path, load_external_data=False).graph
    arrays = {each.name: np.array(numpy_helper.to_array(each)) for each in graph.initializer}
    weights = {
        name.removeprefix(prefix): torch.from_numpy(array)
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
    products = {node.output[0]: node for node in graph.node if node.op_type == "MatMul"}
    for node in graph.node:
        biases = [name for name in node.input if name.startswith(prefix) and name.endswith(_BIAS)]
        product = next((products[name] for name in node.input if name in products), None)
        if node.op_type != "Add" or len(biases) != 1 or product is None:
            continue
        turned = next((arrays[name] for name in product.input if name in arrays), None)
        if turned is not None:
            name = biases[0].removeprefix(prefix).removesuffix(_BIAS)
            weights[f"{name}.weight"] = torch.from_numpy(turned.T.copy())
    if not weights:
        raise ArtifactError(f"{path} has no weights whose names start with {prefix}")
    return weights
