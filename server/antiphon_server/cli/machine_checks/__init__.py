"""What `antiphon doctor` and `antiphon plan` find out about this machine, without torch or vLLM."""
