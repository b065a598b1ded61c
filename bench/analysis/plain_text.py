"""Make user-defined text, such as names of sweeps and classes, safe to show in tables, figures and on a page."""

import hashlib
import math
import unicodedata

MOST = 96
"""Maximum number of characters of a label."""
HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Unicode categories of characters that are not shown: control characters (NUL, line breaks), marks that change the
writing direction, surrogates, private-use and unassigned characters, line separators. XML, LaTeX and UTF-8 files do not
accept all of them."""


def plain(text: str, most: int = MOST) -> str:
    """Return text with � for every character that is not shown. Text of more than `most` characters is cut and ends in
    a hash, so that different labels stay different."""
    shown = visible(text, keep="")
    if len(shown) <= most:
        return shown
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:6]
    return f"{shown[: most - 9]}… {digest}"


def visible(text: str, keep: str = "\n\t") -> str:
    """Return text with � for every character that is not shown, except for those in `keep`."""
    if text.isprintable():  # nearly all text, and a page has megabytes of it
        return text
    return "".join("�" if sign not in keep and unicodedata.category(sign) in HIDDEN else sign for sign in text)


def number(value: float, significant: int = 3) -> str:
    """Return a number in decimal notation without an exponent: `1760`, `51.3`, `0.0625`, `0`."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    places = significant - 1 - math.floor(math.log10(abs(value)))
    text = f"{value:.{max(0, places)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
