"""The load of a benchmark: what is asked, when it is sent, and the client that sends it."""
