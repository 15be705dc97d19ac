"""What is measured of one response: times, packets, playback, words."""
