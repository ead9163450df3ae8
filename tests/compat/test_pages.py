"""The tables of the documentation are those of today, and its links lead somewhere."""

import re
import subprocess
import sys

import pytest

from ptycho.config.describe import settings
from scripts import make_reference, tables

DOCS = make_reference.DOCS
PAGES = [DOCS / name for name in (*make_reference.PAGES, "workflows/command_lines.md")]


def test_the_tables_are_fresh():
    assert make_reference.stale() == [], "type: make reference"


def test_a_stale_table_is_found(tmp_path, monkeypatch, capsys):
    page = tmp_path / "reference.md"
    page.write_text("by hand\n<!-- begin gone -->\nold\n<!-- end -->\nby hand, too\n")
    monkeypatch.setattr(make_reference, "DOCS", tmp_path)
    monkeypatch.setattr(make_reference, "PAGES", ["reference.md"])
    monkeypatch.setattr(sys, "argv", ["make_reference", "--check"])
    with pytest.raises(SystemExit) as ended:
        make_reference.main()
    assert ended.value.code == 1
    assert "reference.md is stale; make reference" in capsys.readouterr().err
    assert "old" in page.read_text()
    monkeypatch.setattr(sys, "argv", ["make_reference"])
    with pytest.raises(SystemExit) as ended:
        make_reference.main()
    assert ended.value.code == 0
    text = page.read_text()
    assert text.startswith("by hand\n<!-- begin gone -->\n| flag |")
    assert text.endswith("<!-- end -->\nby hand, too\n")
    assert make_reference.stale() == []


def test_every_setting_and_every_flag_has_a_line():
    text = (DOCS / "reference.md").read_text()
    for name in settings():
        assert f"\n| `{name}` | " in text
    for command in tables.COMMANDS.values():
        for flag in command.flags.values():
            assert f"\n| `{flag.name}`" in text


def test_rows_have_as_many_cells_as_their_head():
    for name, made in tables.every().items():
        for block in made.split("\n\n"):
            rows = [line for line in block.splitlines() if line.startswith("|")]
            cells = {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
            assert len(cells) <= 1, (name, rows[:1])


def test_making_them_loads_nothing_heavy():
    code = (
        "import sys; from scripts import tables; tables.every(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=DOCS.parent)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", page.read_text()):
        there = (page.parent / target) if target else page
        assert there.exists(), target
        headings = re.findall(r"^#+ (.+)$", there.read_text(), re.M) if anchor else []
        slugs = {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}
        assert not anchor or anchor in slugs, (target, anchor)
