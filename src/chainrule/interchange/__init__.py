"""Networks made elsewhere, and networks for elsewhere: ONNX, PyTorch and safetensors."""

from chainrule.interchange.reading import from_onnx, from_torch

__all__ = ["from_onnx", "from_torch"]
