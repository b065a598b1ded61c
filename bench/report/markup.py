"""HTML that is safe by construction: text is escaped unless it is `Html` already. SVG files become parts of a page."""

import html
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from bench.analysis.plain_text import visible

VOID = frozenset({"br", "img", "input", "link", "meta"})
DROPPED = frozenset({"metadata", "style", "title"})
THEMED = {
    "#ffffff": "var(--card)",
    "#222222": "var(--ink)",
    "#444444": "var(--soft)",
    "#7a7a7a": "var(--faint)",
    "#e6e6e6": "var(--line)",
    "#d5d8db": "var(--line)",
    "#f2f2f2": "var(--even-wash)",
    "#ececec": "var(--even-wash)",
    "#f2c4b5": "var(--bad-wash)",
    "#cfe5ef": "var(--good-wash)",
}
"""Colours of backgrounds, text and lines in figures -> the variables of the page, which is light or dark. All other
colours, such as those of conditions, shades and samples, are the same on both."""


class Html(str):
    """Text that is already HTML and must not be escaped again."""


def element(tag: str, *content: Any, **attributes: Any) -> Html:
    """Return one element.

    Args:
        tag: The name of the element.
        content: Text, which is escaped, or `Html`, or lists of these; None is left out.
        attributes: Attributes by name: `class_` stands for class and `data_x` for data-x. True gives an attribute
            without a value, and None or False leaves it out.
    """
    written = []
    for name, value in attributes.items():
        if value is not None and value is not False:
            name = name.rstrip("_").replace("_", "-")
            written.append(f" {name}" if value is True else f' {name}="{html.escape(visible(str(value)))}"')
    opening = f"<{tag}{''.join(written)}>"
    return Html(opening if tag in VOID else f"{opening}{join(*content)}</{tag}>")


def join(*content: Any) -> Html:
    """Return pieces of content as one piece of HTML, with text escaped."""
    parts: list[Html] = []
    for piece in content:
        if isinstance(piece, list | tuple):
            parts.append(join(*piece))
        elif piece is not None:
            parts.append(piece if isinstance(piece, Html) else Html(html.escape(visible(str(piece)))))
    return Html("".join(parts))


def fill(template: str, parts: dict[str, str]) -> str:
    """Replace every %NAME% of a template in one pass, so that a %NAME% inside a part stays as it is."""
    return re.sub(r"%([A-Z]+)%", lambda match: parts[match[1]], template)


def inline_svg(path: Path, prefix: str, label: str) -> Html:
    """Return an SVG file as an element of a page.

    Args:
        path: The file.
        prefix: The text to put before every id, because the ids of two figures may be equal.
        label: The description of the figure for screen readers.
    """
    root = ET.parse(path).getroot()
    for node in list(root.iter()):
        for child in list(node):
            if _local(child.tag) in DROPPED:
                node.remove(child)
    for node in root.iter():
        node.tag = _local(node.tag)
        old = dict(node.attrib)
        node.attrib.clear()
        for name, value in old.items():
            node.set(_local(name), _with_prefix(_local(name), value, prefix))
        if condition := re.match(r"condition-(\d+)-", old.get("id", "")):
            node.set("data-condition", condition[1])
    width = float(root.get("viewBox", "0 0 400 300").split()[2])
    for name in ("width", "height"):
        root.attrib.pop(name, None)
    root.set("style", f"--width:{width:.0f}")
    root.set("role", "img")
    root.set("aria-label", label)
    return Html(ET.tostring(root, encoding="unicode"))


def _with_prefix(name: str, value: str, prefix: str) -> str:
    if name == "id":
        return prefix + value
    if name == "href" and value.startswith("#"):
        return f"#{prefix}{value[1:]}"
    value = re.sub(r"#[0-9a-f]{6}\b", lambda found: THEMED.get(found[0], found[0]), value)
    return value.replace("url(#", f"url(#{prefix}")


def _local(name: str) -> str:
    return name.rpartition("}")[2]
