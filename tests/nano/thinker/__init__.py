"""Training data, network, heads and stages of the Thinker."""
