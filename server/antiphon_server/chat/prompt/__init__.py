"""Prompts: messages to token ids, by the checkpoint's own chat template and tokenizer.

In: a chat request. Out: a `Conversation`, then token ids. Imports `config` and below.
"""
