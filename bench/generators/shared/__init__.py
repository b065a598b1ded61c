"""Code that several generators share: training, sampling, networks and noise."""
