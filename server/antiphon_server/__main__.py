"""`python -m antiphon_server`: the same as `antiphon`."""

from antiphon_server.cli.main import main

raise SystemExit(main())
