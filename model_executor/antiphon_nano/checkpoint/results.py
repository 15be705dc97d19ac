"""Tables of a report's figures in Markdown, `python -m antiphon_nano.checkpoint.results REPORT`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from antiphon_nano.checkpoint.model_card import served, staged, table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    report = json.loads(parser.parse_args().report.read_text())
    print(table("Served, end to end", served(report)))
    print(table("Speech, stage by stage", staged(report)))


if __name__ == "__main__":
    main()
