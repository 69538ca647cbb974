"""The page of a report or a comparison: one file, without a script of its own, for screen and
paper.

Its policy allows no connections. Only the recording of the live page, in a frame, has scripts; the
policy then names their hashes, so that no other can run.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from chainrule.reports.section import Section, text

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; script-src {scripts};"
    " base-uri 'none'; form-action 'none'"
)


def page(title: str, about: str, sections: Sequence[Section], scripts: Sequence[str] = ()) -> str:
    """The whole file.

    Args:
        title: the heading
        about: a sentence below it
        sections: in their order; those that are missing are named at the end
        scripts: the sources that the policy allows for scripts, such as hashes
    """
    present = [section for section in sections if not section.missing]
    links = "".join(f'<a href="#{section.key}">{text(section.title)}</a>' for section in present)
    body = "".join(map(_section, present))
    missing = [section for section in sections if section.missing]
    if missing:
        lines = "".join(f"<li>{text(section.title)}: {text(section.missing)}</li>" for section in missing)
        body += f'<section id="left-out"><h2>What is left out</h2><ul>{lines}</ul></section>'
    policy = POLICY.format(scripts=" ".join(scripts) or "'none'")
    style = files("chainrule.reports").joinpath("report.css").read_text()
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{style}</style></head><body>"
        f"<header><h1>{text(title)}</h1><p>{text(about)}</p><nav>{links}</nav></header><main>{body}</main>"
        "<footer>Written by chainrule. This file needs no network: everything that it shows is in it.</footer>"
        "</body></html>\n"
    )


def _section(section: Section) -> str:
    about = f'<p class="about">{text(section.about)}</p>'
    return f'<section id="{section.key}"><h2>{text(section.title)}</h2>{about}{section.html}</section>'
