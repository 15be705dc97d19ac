"""antiphon-nano as its clients meet it: asked over HTTP, through the server, and marked."""
