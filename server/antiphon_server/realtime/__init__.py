"""Realtime conversations: sessions, items, turns and responses as a state machine without input and output.

In: client events, detected speech, what the model generates. Out: server events. It runs nothing itself.
"""
