"""What is measured of one response: chunk contents, times, playback, cost and word errors.

In: event data and arrival times; out: frozen figures. Imports `bench.options`, `bench.target`, the executor's
playback model, and errors.
"""
