"""Imported first by the process that engines are forked from: looking through what it imports takes 3 s.

Its forks collect garbage again (tests/warm_start.py).
"""

import gc

gc.disable()
