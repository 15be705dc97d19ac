"""Metrics, request traces and log lines. Imports `config`, `admission` and `errors`."""
