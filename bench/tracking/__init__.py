"""Tracking: mirror ledgers in Weights & Biases (W&B) and build dashboards for them."""
