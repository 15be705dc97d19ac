"""Hot operations of the Talker and the vocoder, each beside its reference. Needs only torch (and triton)."""
