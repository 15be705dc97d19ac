"""The wire types of `/v1/realtime`: the session, the items of a conversation, the events of a client."""
