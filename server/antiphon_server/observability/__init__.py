"""Metrics, request traces and log lines.

In: observations of other packages. Out: Prometheus text, log lines. May import `config` and what is below it.
"""
