"""The vocoder (Code2Wav): codes to 24 kHz speech, its losses and its two training stages.

Takes: shards with codes. Gives: `vocoder.safetensors`, `polished.safetensors`.
May import: `speech.codec`, `speech.recordings`.
"""
