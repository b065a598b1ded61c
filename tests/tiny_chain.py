"""The smallest chain that goes through every stage: seconds on one core, and able to run in other processes."""

import hashlib
from pathlib import Path
from typing import Any

from configs import (
    BlendConfig,
    DDPMConfig,
    NoiseConfig,
    ProceduralConfig,
    SamplingConfig,
    TrainingConfig,
    UNetConfig,
    checked,
)

from bench import ledger
from bench.config import Config, MetricsConfig, RuntimeConfig

NUM_STEPS, CHECKPOINT_EVERY = 60, 10


def tiny(out: Path, **changes: Any) -> Config:
    settings: dict[str, Any] = {
        "name": "tiny",
        "num_generations": 2,
        "num_probes": 2,
        "output_dir": str(out),
        "store_dir": str(out / "store"),
        "data": ProceduralConfig(resolution=16, num_train=40, num_heldout=32, num_calibration=0),
        "generator": DDPMConfig(
            unet=UNetConfig([8, 16], [False, False], layers_per_block=1, attention_head_dim=8),
            noise=NoiseConfig(num_timesteps=100),
            training=TrainingConfig(
                num_steps=NUM_STEPS,
                batch_size=8,
                learning_rate=1e-3,
                warmup_steps=5,
                ema_decay=0.9,
                checkpoint_every=CHECKPOINT_EVERY,
            ),
            sampling=SamplingConfig(num_steps=4, batch_size=16),
        ),
        "mixing": BlendConfig(synthetic_ratio=0.5),
        "metrics": MetricsConfig(num_images=32),
        "runtime": RuntimeConfig(device="cpu", precision="fp32", num_threads=1),
    }
    return checked(Config(**{**settings, **changes}))


def run(config: Config) -> Path:
    from bench.loop import run_chain
    from bench.machine.console import Console

    return run_chain(config, Console())


def outcome(config: Config) -> list[dict[str, Any]]:
    """What must not depend on interruptions, per generation: scores, and the bytes of model and samples."""
    return outcome_of(Path(config.output_dir) / config.name, Path(config.store_dir))


def outcome_of(runs: Path, store: Path) -> list[dict[str, Any]]:
    """The same, by the directories of the one chain and of the store."""
    (chain,) = ledger.read_runs([runs])
    return [
        {
            "generation": row.generation,
            "composition": row.composition,
            "scores": row.scores,
            "artifacts": row.artifacts,
            "losses": [row.train["mean_loss"], row.train["final_loss"]],
            "samples": _digests(store, row.artifacts["samples"]),
            "probes": _digests(store, row.artifacts["probes"]),
            "model": _digests(store, row.artifacts["model"]),
        }
        for row in chain.rows
    ]


def _digests(store: Path, artifact: str) -> dict[str, str]:
    path = store / artifact
    files = [file for file in sorted(path.rglob("*")) if file.is_file()] if path.is_dir() else [path]
    assert files, f"{path} is empty"
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
