"""The exported checkpoint behind the server, with and without an engine."""
