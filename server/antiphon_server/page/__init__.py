"""The page at `/`: a client of this server's API that runs in a browser.

In: nothing but the files in `static`. Out: their routes. Imports no other package of the server.
"""
