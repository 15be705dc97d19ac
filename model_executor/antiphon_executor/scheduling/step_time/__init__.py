"""The time of steps: how long each took, and how many tokens the next one may have.

In: steps as they are scheduled and as they end; out: seconds and tokens.
"""
