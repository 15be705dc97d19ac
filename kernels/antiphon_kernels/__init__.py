"""Hot operations of the Talker and the vocoder, each beside its plain reference. Needs only torch (and triton)."""
