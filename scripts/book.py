#!/usr/bin/env python3
"""Makes the documentation a book: `python3 scripts/book.py [MDBOOK]`, which `make book` calls.

The pages of `docs/SUMMARY.md` lie in several folders, and link each other and files as they lie there. mdBook wants all of them below one folder: they are
copied to `target/book-source` as they lie, with every file that they link, and mdBook makes `target/book` of that. Pages that are linked and in no chapter
follow at the end. Then every link of every page of the book is followed, without a network: one that leads nowhere is an error.
"""

import html.parser
import posixpath
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "target/book-source"
BOOK = ROOT / "target/book"
LINK = re.compile(r"\]\(([^)\s]+)\)")

# Read me first is a page like any other here: its links are to `README.md`, and mdBook would call the page `index`.
CONFIGURATION = """
[build]
build-dir = "../book"
use-default-preprocessors = false
"""


def linked(page, text):
    """What a page links below the root: the links as written, and the files."""
    for target in LINK.findall(text):
        path = target.partition("#")[0]
        if path and "://" not in target:
            yield target, posixpath.normpath(posixpath.join(posixpath.dirname(page), path))


def staged():
    """Copies pages and what they link; returns the pages, and those of them that are in no chapter."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    chapters = (ROOT / "docs/SUMMARY.md").read_text()
    waiting = [path for _, path in linked("docs/SUMMARY.md", chapters)]
    listed, pages = set(waiting), []
    while waiting:
        name = waiting.pop(0)
        place = SOURCE / name
        if place.exists():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if not name.endswith(".md"):
            shutil.copyfile(ROOT / name, place)
            continue
        text = (ROOT / name).read_text()
        for target, path in list(linked(name, text)):
            if (ROOT / path).is_dir():
                # A book has no page for a folder.
                text = re.sub(r"\[([^\]]*)\]\(" + re.escape(target) + r"\)", r"\1", text)
            else:
                waiting.append(path)
        place.write_text(text)
        pages.append(name)
    more = [page for page in pages if page not in listed]
    summary = LINK.sub(lambda link: "](" + posixpath.normpath(posixpath.join("docs", link[1])) + ")", chapters)
    titles = [(re.search(r"^# (.*)$", (SOURCE / page).read_text(), re.M), page) for page in more]
    summary += "".join(f"\n[{title[1] if title else page}]({page})\n" for title, page in titles)
    (SOURCE / "SUMMARY.md").write_text(summary)
    return pages


def configured():
    """`docs/book.toml`, as it is read from the folder of all pages."""
    text = (ROOT / "docs/book.toml").read_text()
    (SOURCE / "book.toml").write_text(re.sub(r"\[build\]\n[^\[]*", CONFIGURATION.lstrip() + "\n", text))


class Page(html.parser.HTMLParser):
    """What a page links, and the places in it that can be linked."""

    def __init__(self, text):
        super().__init__()
        self.links, self.places = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.places.update(filter(None, [attributes.get("id"), attributes.get("name")]))
        self.links += [attributes[name] for name in ("href", "src") if attributes.get(name)]


def faults():
    """Links of the book that lead nowhere."""
    pages = {path: Page(path.read_text()) for path in sorted(BOOK.rglob("*.html")) if path.name not in ("404.html", "toc.html", "print.html")}
    for path, page in pages.items():
        for link in page.links:
            if re.match(r"[a-z]+:|//", link) or link.startswith("#!"):
                continue
            target, _, place = unquote(link).partition("#")
            there = (path.parent / target).resolve() if target else path
            if not there.exists():
                yield f"{path.relative_to(BOOK)}: {link} is not there"
            elif place and there in pages and place not in pages[there].places:
                yield f"{path.relative_to(BOOK)}: {link}: the page has no such place"


def main():
    mdbook = sys.argv[1] if len(sys.argv) > 1 else "mdbook"
    if not shutil.which(mdbook):
        sys.exit(f"book: there is no `{mdbook}`; `cargo install mdbook --locked` provides it")
    pages = staged()
    configured()
    shutil.rmtree(BOOK, ignore_errors=True)
    subprocess.run([mdbook, "build", str(SOURCE)], check=True)
    (BOOK / "book.toml").unlink(missing_ok=True)
    found = list(faults())
    print("\n".join(found) or f"book: {len(pages)} pages in {BOOK}, every link leads somewhere")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
