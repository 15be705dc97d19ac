"""Does a test fail for every refusal that is taken out? `make mutants`; not among the tests.

One change at a time, in memory alone: a check is removed or turned round, and the tests of its module run.
"""
