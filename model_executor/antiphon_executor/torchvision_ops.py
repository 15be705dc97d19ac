"""Makes `import torchvision` work where its compiled extension does not load.

vLLM and transformers import torchvision for its pure-torch transforms alone, and vLLM does so before it loads
any plugin. A CUDA build of torchvision beside a CPU build of torch fails at import: it registers fake kernels for
two operators that its missing extension would have defined. Their schemas are enough. No kernel is added, so a
call of either still raises. torch itself calls this, by the entry point `torch.backends`, as it is imported.
"""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.library import Library

# As torchvision's csrc/ops/{nms,quantized/...}.cpp declare them.
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


@cache
def define_missing_operators() -> Library | None:
    """Define the schemas where they are missing.

    Returns the library that owns the schemas (kept alive by this cache), or None where nothing was to do:
    torchvision is absent, already imported, or its extension loads.
    """
    if "torchvision" in sys.modules:
        return None
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or _extension_loads(Path(spec.origin).parent):
        return None

    from torch.library import Library

    library = Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        library.define(schema)
    return library


def _extension_loads(package: Path) -> bool:
    import torch

    for extension in (*package.glob("_C*.so"), *package.glob("_C*.pyd")):
        try:
            torch.ops.load_library(str(extension))
        except (ImportError, OSError):
            continue
        return True
    return False
