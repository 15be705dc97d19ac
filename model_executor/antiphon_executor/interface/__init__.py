"""The boundary of the executor: all that the server may import of it. Pure types, no torch, no vLLM."""
