"""The version, apart from the package: a decoder process starts for every media item and need not read it."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("antiphon")
except PackageNotFoundError:  # a source tree that was never installed
    VERSION = "0+unknown"
