"""One request through both engines: text from the Thinker, speech from the Talker, as one stream of events.

Imports `stages` and everything below it.
"""
