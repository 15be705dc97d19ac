"""Times the start-up of the real server with the tiny checkpoint, then runs `antiphon bench` against it.

Further flags of `antiphon bench` override those given here. Requests are greedy, so that random weights never
end the answer, and each stream is closed after 60 frames. It checks nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.e2e.server_process import start_server, terminate

from antiphon_executor.tiny import write_tiny_checkpoint
from antiphon_server.cli import main as cli

GREEDY = '{"temperature": 0, "talker_temperature": 0}'
LOAD = ("--concurrency", "1,4,8", "--requests", "24", "--warmup", "8", "--max-tokens", "64")
FLAGS = (*LOAD, "--leave-after", "4.8", "--extra-body", GREEDY)


def main() -> int:
    with TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "tiny"
        write_tiny_checkpoint(checkpoint)
        server = start_server(checkpoint, Path(folder) / "log")
        print(f"start-up: {server.start_s:.1f} s from the command to a ready server", flush=True)
        try:
            return cli.main(["bench", server.url, *FLAGS, *sys.argv[1:]])
        finally:
            terminate(server)


if __name__ == "__main__":
    raise SystemExit(main())
