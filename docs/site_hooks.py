"""Turns the documents into a site: what `mkdocs.yml` names as its hook.

The documents are written to be read in a checkout. For the site, the second word of a fence (`bash run`)
goes, links to Markdown files outside docs/ lead to copies of them under project/, and links to code become
plain words. After the build every link of every page is followed: one that leads nowhere, or a page that
fetches anything from elsewhere, fails it.
"""

from __future__ import annotations

import posixpath
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).resolve().parents[1]
COPIES = "project/"
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)#\s]*)(#[^)\s]*)?\)")
_FENCE = re.compile(r"^(```[a-z]+) (?:run|run-slow|check)$", re.MULTILINE)
_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def on_config(config: Any) -> Any:
    """Put documents that the navigation does not name at its end, so that none is out of reach."""
    named = set(re.findall(r"[\w/]+\.md", str(config["nav"])))
    docs = Path(config["docs_dir"])
    rest = sorted({path.relative_to(docs).as_posix() for path in docs.rglob("*.md")} - named)
    if rest:
        config["nav"].append({"More": rest})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add copies of the Markdown files that documents link to, and of those that these link to."""
    waiting = [ROOT / "docs" / f.src_uri for f in files if f.src_uri.endswith(".md")]
    copied: set[str] = set()
    while waiting:
        source = waiting.pop()
        for match in _LINK.finditer(_BLOCK.sub("", source.read_text(encoding="utf-8"))):
            target = _target(source.parent, match.group(3))
            if target is None or target.startswith("docs/") or target in copied:
                continue
            path = ROOT / target
            # Readers of the site follow documents, not every README of the code.
            if path.suffix == ".md" and path.is_file() and not match.group(1):
                copied.add(target)
                waiting.append(path)
                text = path.read_text(encoding="utf-8")
                files.append(
                    File.generated(config, COPIES + target, content=text, inclusion=InclusionLevel.NOT_IN_NAV)
                )
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrite links that leave docs/, and fences."""
    here = page.file.src_uri
    source = here.removeprefix(COPIES) if here.startswith(COPIES) else f"docs/{here}"

    def rewrite(match: re.Match[str]) -> str:
        picture, words, link, anchor = match.groups()
        if not link or "://" in link:
            return match.group()
        target = _target((ROOT / source).parent, link)
        if target is None:
            return words
        inside = target.removeprefix("docs/") if target.startswith("docs/") else COPIES + target
        kept = target.startswith("docs/") or target.endswith(".md")
        if (ROOT / target).is_dir() or not kept or inside.endswith(".py"):
            return words
        return (
            f"{picture}[{words}]({posixpath.relpath(inside, posixpath.dirname(here) or '.')}{anchor or ''})"
        )

    parts, done = [], 0
    for block in _BLOCK.finditer(markdown):
        parts += [_LINK.sub(rewrite, markdown[done : block.start()]), _FENCE.sub(r"\1", block.group())]
        done = block.end()
    return "".join(parts) + _LINK.sub(rewrite, markdown[done:])


def on_post_build(config: Any, **_: Any) -> None:
    """Follow every link of the site."""
    faults = link_faults(Path(config["site_dir"]))
    if faults:
        raise PluginError("links of the site:\n" + "\n".join(faults))


def _target(folder: Path, link: str) -> str | None:
    """Path from the root that a relative link leads to; None for one that leads nowhere."""
    if not link or "://" in link or link.startswith(("/", "mailto:")):
        return None
    path = Path(posixpath.normpath((folder / unquote(link)).as_posix()))
    if not path.is_relative_to(ROOT) or not path.exists():
        return None
    readme = path / "README.md"
    return (readme if path.is_dir() and readme.is_file() else path).relative_to(ROOT).as_posix()


# ---- the finished site -------------------------------------------------------------------------------------


class _Page(HTMLParser):
    """Links, anchors and what a page fetches."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.anchors |= {value for name in ("id", "name") if (value := found.get(name))}
        if tag == "a" and found.get("href"):
            self.links.append(str(found["href"]))
        for name in ("src", "href"):
            fetches = tag in ("script", "img", "iframe") or (
                tag == "link" and found.get("rel") != "canonical"
            )
            if fetches and found.get(name):
                self.fetched.append(str(found[name]))


def link_faults(site: Path) -> list[str]:
    """What is wrong with the links of a built site: nowhere to go, or something fetched from elsewhere."""
    pages = {}
    for path in sorted(site.rglob("*.html")):
        pages[path] = _Page()
        pages[path].feed(path.read_text(encoding="utf-8"))
    faults = []
    for path, page in pages.items():
        name = path.relative_to(site).as_posix()
        if name == "404.html":  # its links begin at the site's address, which nobody knows yet
            continue
        for link in [*page.links, *page.fetched]:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https"):
                faults += [f"{name}: fetches {link}"] if link in page.fetched else []
                continue
            if parts.scheme in ("data", "mailto", "javascript"):
                continue
            target = (
                Path(posixpath.normpath((path.parent / unquote(parts.path)).as_posix()))
                if parts.path
                else path
            )
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                faults.append(f"{name}: {link} leads nowhere")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                faults.append(f"{name}: {link} has no such place")
    return faults
