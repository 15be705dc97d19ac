"""What is measured of one response: chunk contents, times, playback, cost and word errors.

In: event data and arrival times; out: frozen figures. Imports only `bench.options`, `bench.target` and
errors.
"""
