"""Makes `import torchvision` work where its compiled extension does not load.

vLLM and transformers import torchvision for its pure-torch transforms alone; vLLM does so before it loads
any plugin. A CUDA build of torchvision beside a CPU build of torch fails at import: it registers fake kernels
for two operators that its missing extension would have defined. Their schemas are enough. No kernel is added:
a call of either still raises. torch itself calls this, by the entry point `torch.backends`, at its import.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.library import Library

# As torchvision declares them in csrc/ops/nms.cpp and csrc/ops/quantized/cpu/qnms_kernel.cpp.
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

# A schema lives as long as the library that defined it.
_libraries: list[Library] = []


def define_missing_operators() -> None:
    """Define the schemas, where torchvision is installed and its extension does not load. Idempotent."""
    if _libraries or "torchvision" in sys.modules:
        return
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or _extension_loads(Path(spec.origin).parent):
        return
    from torch.library import Library

    library = Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        library.define(schema)
    _libraries.append(library)


def _extension_loads(package: Path) -> bool:
    # Not above: imported before torch, this module would be half done when torch asks for it.
    import torch

    for extension in (*package.glob("_C*.so"), *package.glob("_C*.pyd")):
        try:
            torch.ops.load_library(str(extension))
        except (ImportError, OSError):
            continue
        return True
    return False
