"""Networks made elsewhere, and networks for elsewhere: ONNX, PyTorch and safetensors."""

from chainrule.interchange.exporting import Written, export, from_safetensors
from chainrule.interchange.reading import from_onnx, from_torch

__all__ = ["Written", "export", "from_onnx", "from_safetensors", "from_torch"]
