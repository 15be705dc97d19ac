"""Messages and sockets between the processes of one server, and what those processes inherit.

Imports `interface` alone.
"""
