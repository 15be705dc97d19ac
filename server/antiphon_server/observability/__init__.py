"""Metrics, request traces and log lines.

In: observations of the other packages. Out: Prometheus text and log lines. May import `config` and what is below.
"""
