"""The Talker: backbone, code predictor and vocoder in one vLLM worker."""
