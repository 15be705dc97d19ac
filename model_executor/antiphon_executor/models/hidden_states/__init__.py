"""The Thinker's hidden states on their way to the Talker: which are sent, and the connector that sends them.

In: the paged hidden-states cache; out: one message per request that asks, over ZeroMQ.
May import every family (the selection depends on it), `models/layers` and `ipc`.
"""
