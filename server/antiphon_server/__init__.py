"""HTTP front end of Antiphon. Imports neither torch nor vLLM."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("antiphon")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
