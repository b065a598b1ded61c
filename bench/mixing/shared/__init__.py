"""Code that mixing policies share: the history that they draw from, and ratios."""
