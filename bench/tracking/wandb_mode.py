"""Decide from the environment and the presence of an API key whether W&B runs are online, offline or disabled."""

import logging
import os

log = logging.getLogger(__name__)


def choose() -> tuple[str, str]:
    """Return the mode, `online`, `offline` or `disabled`, and the reason. WANDB_MODE takes precedence."""
    requested = os.environ.get("WANDB_MODE", "").lower()
    if requested == "disabled":
        return "disabled", "WANDB_MODE"
    if requested in ("offline", "dryrun"):
        return "offline", f"WANDB_MODE={requested}; send it later with `wandb sync`"
    if not has_credentials():
        return "offline", "no API key; send it later with `wandb sync`"
    return "online", ""


def is_online() -> bool:
    """Return whether a run that starts now would be online."""
    return choose()[0] == "online"


def default_entity() -> str:
    """Ask the server for the entity of the API key. Raises what W&B raises."""
    import wandb

    return str(wandb.Api(timeout=15).default_entity)


def has_credentials() -> bool:
    """Return whether W&B has a valid key without asking for one. No part of the key is kept or shown here.

    W&B's own search (environment, netrc, settings) must decide: if this function saw a key that W&B does not see, W&B
    would ask at the keyboard. If that search is not available, only the environment counts, which W&B reads first.
    """
    try:
        import wandb
        from wandb.sdk.lib.wbauth import authenticate_session

        host = wandb.setup().settings.base_url
        session = authenticate_session(host=host, source="bench", prompt=False, update_session=False)
        return session is not None
    except (ImportError, TypeError):  # another version of W&B
        return bool(os.environ.get("WANDB_API_KEY"))
    except Exception as error:
        log.warning("W&B credentials cannot be used: %s", type(error).__name__)
        return False
