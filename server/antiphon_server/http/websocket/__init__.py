"""WebSockets: the protocol of a connection, and the keys of its handshake."""
