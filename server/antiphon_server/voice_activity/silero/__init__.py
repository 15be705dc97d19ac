"""Silero VAD's published weights for 16 kHz (MIT: see NOTICE and LICENSE)."""
