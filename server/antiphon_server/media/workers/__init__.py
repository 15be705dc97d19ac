"""Code that runs in the fork server and its confined decoder processes. The server never imports it.

In: a job and descriptors; out: decoded bytes and a report. Imports `media.{sandbox,source,wav_header}`.
"""
