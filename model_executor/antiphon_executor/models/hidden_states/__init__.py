"""Thinker hidden states on their way to the Talker: which are sent, and the KV connector that sends them."""
