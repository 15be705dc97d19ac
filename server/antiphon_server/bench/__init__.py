"""`antiphon bench URL`: how fast, how steady and how dear an omni endpoint is, ours or anybody's.

It talks to the server as any client does, over HTTP alone, and imports nothing of ours that serves.
"""
