"""`python -m antiphon_nano.results REPORT`: the figures of a report as Markdown, for RESULTS.md."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from antiphon_nano.model_card import served, staged, table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    report = json.loads(parser.parse_args().report.read_text())
    print(table("Served, end to end", served(report)))
    print(table("Speech, stage by stage", staged(report)))


if __name__ == "__main__":
    main()
