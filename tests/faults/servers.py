"""Faults of the W&B server: it refuses connections, accepts and says nothing, or answers with errors."""

import http.server
import os
import random
import socket
import threading
from pathlib import Path

from faults.shared import Tally, exit_status, is_whole, run_or_explain
from tiny_chain import tiny

from bench.config import Config, TrackingConfig


class _Angry(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.send_error(self.server.status)  # type: ignore[attr-defined]

    do_GET = do_POST

    def log_message(self, *arguments: object) -> None:
        pass


def _listen(kind: str) -> tuple[int, object]:
    """Return a port of this machine, and what keeps it."""
    if kind.isdigit():
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Angry)
        server.status = int(kind)  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_address[1], server
    silent = socket.create_server(("127.0.0.1", 0), backlog=100)
    port = silent.getsockname()[1]
    if kind == "refuses":
        silent.close()
    return port, silent


def _run_online(config: Config) -> None:
    folder = Path(config.output_dir)
    os.environ.pop("WANDB_MODE", None)
    os.environ |= {"HOME": str(folder), "WANDB_CONFIG_DIR": str(folder), "WANDB_API_KEY": "0" * 40}
    os.environ["WANDB_BASE_URL"] = (folder / "url").read_text()
    run_or_explain(config)


def wandb(folder: Path, count: int, rng: random.Random) -> Tally:
    """A chain that tracks to such a server ends as one that does not track."""
    tally = Tally()
    for number, kind in enumerate((["refuses", "silent", "401", "500"] * count)[:count]):
        config = tiny(folder / f"out{number}", tracking=TrackingConfig("wandb"))
        Path(config.output_dir).mkdir(parents=True)
        port, _keep = _listen(kind)
        (Path(config.output_dir) / "url").write_text(f"http://127.0.0.1:{port}")
        status = exit_status(config, _run_online)
        tally.add(status == 0 and is_whole(config), f"{kind}: {status}")
        tally.places[kind] += 1
    return tally
