"""What vetting rules share."""
