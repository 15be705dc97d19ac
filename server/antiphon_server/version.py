"""The installed version, in a module of its own: decoder processes start often and do not need it."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("antiphon")
except PackageNotFoundError:  # a source tree that was never installed
    VERSION = "0+unknown"
