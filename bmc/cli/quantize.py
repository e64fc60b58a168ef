"""bmc quantize"""

from __future__ import annotations

from bmc.common_options import ModelName
from bmc.rendering.rendered import Rendered, render_result
from bmc.workflows.options import OwnCode, Quantization, QuantizedFiles
from bmc.workflows.tuning import Tuning


def quantize(
    model: ModelName = None,
    *,
    quantization: Quantization = Quantization(),
    tuning: Tuning = Tuning(epochs=0),
    files: QuantizedFiles = QuantizedFiles(),
    code: OwnCode = OwnCode(),
) -> Rendered:
    """Quantize a model's weights and activations to int8, int4 or half precision.

    The model directory records which layers are quantized and how; `bmc export` lowers them to the
    operators that the target runs fastest. Prune, share and distill before you quantize.

    Args:
        epochs: epochs of quantization-aware training (qat), at least 1; the other methods train
            nothing.

    Example:
        bmc quantize bert-movie-reviews
        bmc quantize model.onnx --samples rows.npz --target onnx,openvino
    """
    from bmc.rendering import bundles as render
    from bmc.workflows import quantize as workflow

    return render_result(render.compressed, workflow.quantize, model, quantization, tuning, files)
