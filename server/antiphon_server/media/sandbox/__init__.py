"""Decoder processes: a pool of confined forks, one job each. Linux only."""
