"""JSON schemas of answers: their bounds and the cost of their compilation.

In: a chat request. Out: an `AnswerSchema` and its cost. Imports `config` and below.
"""
