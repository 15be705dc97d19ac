"""JSON schemas of answers: their bounds, the cost of their compilation, and who may compile when.

In: a chat request. Out: an `AnswerSchema` and its cost. Imports `config`, `admission` and `openai_api`.
"""
