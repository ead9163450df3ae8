"""Fill the tables of the documentation from what is written beside settings and flags.

A table stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``; the words around it are
written by hand. Nothing heavy is imported.
"""

import argparse
import re
import sys
from pathlib import Path

from scripts import tables

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = ("reference.md", "migration.md")
_TABLE = re.compile(r"(?P<begin><!-- begin (?P<name>[\w.]+) -->\n).*?(?P<end><!-- end -->)", re.S)


def filled(text: str) -> str:
    """A page with the tables of today."""
    made = tables.every()
    return _TABLE.sub(lambda hit: f"{hit['begin']}{made[hit['name']]}\n{hit['end']}", text)


def stale() -> list[Path]:
    """Pages whose tables are not those of today."""
    pages = [DOCS / name for name in PAGES]
    return [page for page in pages if filled(text := page.read_text(encoding="utf-8")) != text]


def main() -> None:
    """Write the pages, or only look whether they are fresh."""
    parser = argparse.ArgumentParser(prog="python -m scripts.make_reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if one is stale")
    only_look = parser.parse_args().check
    for page in (old := stale()):
        if only_look:
            print(f"{page} is stale; make reference", file=sys.stderr)
        else:
            page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
            print(page)
    sys.exit(bool(old and only_look))


if __name__ == "__main__":
    main()
