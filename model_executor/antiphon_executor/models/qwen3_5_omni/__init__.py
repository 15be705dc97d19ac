"""Qwen3.5-Omni (hybrid attention, ARIA): its configuration and the pure rules that executors share."""
