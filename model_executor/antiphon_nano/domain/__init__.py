"""The language of antiphon-nano: its words, sentences, answers, training texts and tokenizer.

Takes: a source of random numbers. Gives: texts and token ids, from code alone, without any file.
May import: nothing of `antiphon_nano`.
"""
