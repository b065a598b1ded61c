"""What torch's launcher, `torchrun`, tells the processes that it starts. Free of torch, so that those can ask first who
may not need it.
"""

import os


def num_processes() -> int:
    """Return how many processes run this chain together; 1 if torch's launcher did not start this one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Return whether this process is the first of them, which writes and prints."""
    return os.environ.get("RANK", "0") == "0"


def local_rank() -> int:
    """Return the number of this process among those on its node."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def num_local_processes() -> int:
    """Return how many of the processes run on this node."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def has_agent() -> bool:
    """Return whether an agent of torch's launcher watches this process: it passes every SIGTERM on, and kills those
    that have not ended half a minute later."""
    return "TORCHELASTIC_RUN_ID" in os.environ
