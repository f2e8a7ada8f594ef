"""Hooks of MkDocs: the results pages become pages of the site, and links that leave docs/ lead to the right place.

A page of docs/ or results/ links to files by their place in the repository, so that its links work there. In the site
the links lead to the site's own pages where there are such, else to the repository's address.
"""

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
SHOWN = (
    "CHANGELOG.md", "CONTRIBUTING.md", "results/*/README.md", "results/*/*/README.md", "results/views/*.md",
    "results/speed/*.md", "results/*/*.svg",
    "results/*/report.*", "results/*/recipe.toml", "results/*/log.txt", "results/*/splits.json",
    "results/*/notes.toml", "results/*.json", "results/external/*.json",
)  # fmt: skip
"""What the site shows besides docs/."""
_LINK = re.compile(r"(?<=\]\()([^)\s#]+)(?=[)#])")


def on_files(files: Files, config: Any) -> Files:
    """Add the files of `SHOWN` at their places in the repository."""
    for pattern in SHOWN:
        for path in sorted(ROOT.glob(pattern)):
            place = path.relative_to(ROOT).as_posix()
            if place not in files.src_uris:
                files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turn links to places in the repository into links of the site."""
    at = Path(page.file.abs_src_path)
    in_site = {Path(file.abs_src_path): file.src_uri for file in files if file.abs_src_path}

    def lead(match: re.Match[str]) -> str:
        target = match[1]
        there = Path(os.path.normpath(at.parent / target))
        if re.match(r"[a-z]+:", target) or not there.exists():
            return target
        if there / "README.md" in in_site:
            there = there / "README.md"
        if there in in_site:
            return Path(os.path.relpath(in_site[there], Path(page.file.src_uri).parent)).as_posix()
        kind = "tree" if there.is_dir() else "blob"
        return f"{config['repo_url'].rstrip('/')}/{kind}/main/{there.relative_to(ROOT).as_posix()}"

    return _LINK.sub(lead, markdown)
