"""The documentation builds without a warning, and its pages load nothing from the network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

pytestmark = pytest.mark.slow

_LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "object": "data"}
_IN_A_STYLE = re.compile(r"@import\s+['\"]?https?:|url\(\s*['\"]?(?:https?:)?//")


def build(site: Path, *, config: Path = ROOT / "mkdocs.yml") -> subprocess.CompletedProcess[str]:
    """The strict build, as `make docs` runs it."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(config), "--site-dir", str(site)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages."""
    folder = tmp_path_factory.mktemp("site")
    done = build(folder)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


class _Loads(HTMLParser):
    """What a page makes a browser fetch."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        address = dict(attrs).get(_LOADED.get(tag, ""))
        if address and dict(attrs).get("rel") not in ("canonical", "next", "prev"):
            self.addresses.append(address)


def pages(site: Path) -> Iterator[Path]:
    yield from site.rglob("*.html")


def test_pages_load_nothing_from_the_network(site: Path) -> None:
    loaded = {address for page in pages(site) for address in _Loads(page).addresses}
    assert len(loaded) > 5
    assert [address for address in loaded if re.match(r"(https?:)?//", address)] == []
    styles = [style.read_text(encoding="utf-8") for style in site.rglob("*.css")]
    assert styles
    assert not any(_IN_A_STYLE.search(style) for style in styles)


def test_formulas_are_written_out(site: Path) -> None:
    text = {page.relative_to(site).as_posix(): page.read_text(encoding="utf-8") for page in pages(site)}
    assert "<math" in text["concepts/tau.html"]
    assert [page for page, content in text.items() if "arithmatex" in content or "\\frac" in content] == []


def test_pages_show_what_is_generated(site: Path) -> None:
    configs = (site / "reference" / "configs.html").read_text(encoding="utf-8")
    for file in (ROOT / "configs").rglob("*.yaml"):
        assert f'id="{file.parent.name}-{file.stem}"' in configs
    for note in (ROOT / "benchmarks").glob("*.md"):
        assert (site / "measurements" / f"{note.stem}.html").is_file()


def test_a_dead_link_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    page = "# Page\n\n[a](no-page.md) [b](#no-anchor) ![c](no-image.png)\n"
    (tmp_path / "docs" / "index.md").write_text(page)
    inherited = f"INHERIT: {ROOT / 'mkdocs.yml'}\n"
    (tmp_path / "mkdocs.yml").write_text(f"{inherited}hooks: []\nnav: [index.md]\nwatch: []\n")
    done = build(tmp_path / "site", config=tmp_path / "mkdocs.yml")
    assert done.returncode == 1
    assert [name for name in ("no-page", "no-anchor", "no-image") if name not in done.stderr] == []
