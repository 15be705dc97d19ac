"""C++ kernels for a CPU: the code predictor and the vocoder of small models, one call a step.

They are built when the project is installed, if there is a compiler. Without them PyTorch computes the same.
"""

from __future__ import annotations
