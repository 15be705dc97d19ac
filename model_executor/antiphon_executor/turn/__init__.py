"""One request through both stages: the Thinker's text and the Talker's speech as one stream of events.

In: an `OmniRequest` and the running stages. Out: `OmniEvent`s. Imports `stages` and everything below it.
"""
