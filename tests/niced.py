"""Commands that compute in the time that others leave them."""

from __future__ import annotations


def niced(nice: int) -> tuple[str, ...]:
    """To be put before a command that is started in a new session.

    Linux shares the cores first among sessions, then among the processes of each.
    """
    return (
        "sh",
        "-c",
        f'{{ echo {nice} >/proc/self/autogroup; }} 2>/dev/null; exec nice -n {nice} "$@"',
        "sh",
    )
