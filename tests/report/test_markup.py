"""HTML that is safe by construction, and SVG files as parts of a page."""

from pathlib import Path

import pytest
from html_tree import parse

from bench.report.markup import Html, element, fill, inline_svg, join

HOSTILE = "</script><b onclick='x'>&\"%DATA%"


def test_text_and_attributes_are_escaped_and_html_is_not_escaped_twice() -> None:
    made = element("p", HOSTILE, element("i", "a < b"), None, ["x", ("y", 3)], title=HOSTILE, class_="c", data_k=1)
    assert isinstance(made, Html)
    (p,) = parse(made).children
    assert not isinstance(p, str) and [node.tag for node in p.walk()] == ["i"]
    assert p.text == f"{HOSTILE}a < bxy3"
    assert p.attributes == {"title": HOSTILE, "class": "c", "data-k": "1"}
    assert join("<", Html("<br>")) == "&lt;<br>"
    assert element("input", hidden=True, checked=False, value=None) == "<input hidden>"


def test_a_mark_inside_a_part_is_not_filled_again() -> None:
    assert fill("%A%-%B%-100%", {"A": "%B% \\1", "B": "b"}) == "%B% \\1-b-100%"
    with pytest.raises(KeyError):
        fill("%MISSING%", {})


def test_two_drawings_on_one_page_share_no_id(tmp_path: Path) -> None:
    path = tmp_path / "x.svg"
    path.write_text(
        '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        'width="10pt" height="5pt" viewBox="0 0 245 100"><metadata>http://example.org</metadata>'
        '<defs><style>*{color: red}</style><clipPath id="clip"/></defs><!-- 1 -->'
        '<g id="condition-12-line-0" clip-path="url(#clip)" style="fill: url(#clip)"><use xlink:href="#clip"/></g>'
        "<text>a &lt;b&gt; &amp;</text></svg>"
    )
    (svg,) = parse(inline_svg(path, "one-", "a < b")).children
    assert not isinstance(svg, str)
    assert svg.attributes == {"viewbox": "0 0 245 100", "style": "--width:245", "role": "img", "aria-label": "a < b"}
    assert [node.tag for node in svg.walk()] == ["defs", "clippath", "g", "use", "text"]
    assert svg.one("clippath").attributes == {"id": "one-clip"}
    assert svg.one("use").attributes == {"href": "#one-clip"}
    assert svg.one("g").attributes == {
        "id": "one-condition-12-line-0",
        "clip-path": "url(#one-clip)",
        "style": "fill: url(#one-clip)",
        "data-condition": "12",
    }
    assert svg.text == "a <b> &"
