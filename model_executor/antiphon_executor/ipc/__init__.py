"""Messages and sockets between the processes of one server, and what those processes inherit.

In: hidden states, text, client cursors; out: the same, decoded, in the process that needs them.
May import `interface` only.
"""
