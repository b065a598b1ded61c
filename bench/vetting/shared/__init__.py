"""Code that vetting rules share."""
