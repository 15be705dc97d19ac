"""`python -m antiphon_server`: the same as `antiphon`."""

from antiphon_server.cli import main

raise SystemExit(main())
