"""The Thinker: a vLLM model that also keeps the accept-layer rows the Talker needs."""
