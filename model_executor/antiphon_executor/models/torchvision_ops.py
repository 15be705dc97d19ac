"""Makes `import torchvision` work if its compiled extension does not load (a CUDA build beside CPU torch).

torchvision registers fake kernels for two operators of that extension; defining their schemas is enough.
torch runs this at its import (entry point `torch.backends`): vLLM imports torchvision before any plugin.
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

# A schema is removed with the library object that defined it.
_libraries: list[Library] = []


def define_missing_operators() -> None:
    """Defines the schemas if torchvision is installed and its extension does not load. Idempotent."""
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
    # Not at the top: torch imports this module while torch itself is being imported.
    import torch

    for extension in (*package.glob("_C*.so"), *package.glob("_C*.pyd")):
        try:
            torch.ops.load_library(str(extension))
        except (ImportError, OSError):
            continue
        return True
    return False
