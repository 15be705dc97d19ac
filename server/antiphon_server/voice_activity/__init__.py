"""Detection of speech: Silero VAD in numpy, on many streams of audio at once.

In: frames of 512 samples at 16 kHz. Out: the probability of speech in each. It imports nothing of the server.
"""
