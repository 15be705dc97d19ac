"""Realtime connections: a WebSocket drives the machine of `realtime`, whose responses run at the engine."""
