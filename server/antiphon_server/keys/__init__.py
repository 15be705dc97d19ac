"""API keys: which are valid, the class of each and the limits of a class.

In: the keys of the settings and the key file. Out: answers about the hash of a key. May import `admission`.
"""
