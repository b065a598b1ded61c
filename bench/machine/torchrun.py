"""The environment that torch's launcher, `torchrun`, gives to the processes that it starts. This module does not import
torch, so that processes that may not need torch can use it.
"""

import os


def num_processes() -> int:
    """Return how many processes run this chain together; 1 if torch's launcher did not start this one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Return whether this process is the first of those that run this chain; only the first one writes and prints."""
    return os.environ.get("RANK", "0") == "0"


def local_rank() -> int:
    """Return the rank of this process among those on its node."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def num_local_processes() -> int:
    """Return how many of the processes run on this node."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def has_agent() -> bool:
    """Return whether an agent of torch's launcher watches this process. The agent passes every SIGTERM on, and kills
    the processes that have not ended half a minute later."""
    return "TORCHELASTIC_RUN_ID" in os.environ
