"""Whether a test fails if a check is removed: `make mutants`, not part of the test suite.

One change at a time, in memory only: a check is removed or inverted, and the tests of its module run.
"""
