"""Made-up ledgers and pictures for tests. The numbers follow a simple rule and measure nothing."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from bench import ledger
from bench.ledger import Row

SPACE = "efficientnet_lite0"


REAL = hashlib.sha256(b"real").hexdigest()


def score(metric: str, value: float, subject: str = "samples", space: str = SPACE, n: int = 1024) -> dict[str, Any]:
    return {
        "metric": metric,
        "feature_space": space,
        "reference": "heldout",
        "subject": subject,
        "num_subject": n,
        "num_reference": n,
        "parameters": {} if metric in ("fid", "class_survival") else {"k": 3},
        "value": value,
        "direction": "down" if metric == "fid" else "up",
    }


CLASSES = {"daisy": 512.0, "rose": 256.0, "tulip": 128.0, "poppy": 64.0, "iris": 32.0, "fern": 16.0, "reed": 0.0}


def survival(drift: float, space: str) -> dict[str, Any]:
    """Classes die from the rare end on; one was never expected."""
    counts = {name: [round(n * max(0.0, 1 - drift * 60 / (n + 20))), n] for name, n in CLASSES.items()}
    alive = [c >= max(0.1 * n, 1) for c, n in counts.values() if n > 0]
    entry = score("class_survival", sum(alive) / len(alive), space=space)
    return {**entry, "parameters": {"attribute": "species"}, "counts": counts}


def row(
    ratio: float,
    generation: int,
    seed: int,
    sweep: str = "made-up",
    policy: str = "blend",
    store_dir: str = "store",
    space: str = SPACE,
    protocol: dict[str, Any] | None = None,
    data: dict[str, Any] | None = None,
    real: str = REAL,
    generator: str = "ddpm",
    risk: tuple[str, float] | None = None,
) -> Row:
    """FID rises and recall falls with ratio × generation, plus noise that depends on the seed alone; and so does the
    risk, where its metric and its value at no drift are given."""
    key = f"{policy}/{ratio if generation else 0}/{generation}/{seed}/{space}"
    noise = np.random.default_rng(list(hashlib.sha256(key.encode()).digest()[:8])).normal(0, 1, 5)
    drift = ratio**2 * generation
    num_synthetic = round(1024 * ratio) if generation else 0
    values = {
        "fid": 120 + 90 * drift + 9 * noise[0],
        "precision": min(1, max(0, 0.72 - 0.11 * drift + 0.02 * noise[1])),
        "recall": min(1, max(0, 0.55 - 0.09 * drift + 0.02 * noise[2])),
        "density": max(0, 0.8 - 0.1 * drift + 0.03 * noise[3]),
        "coverage": min(1, max(0, 0.7 - 0.12 * drift + 0.02 * noise[4])),
    }
    floor = {"fid": 21.0, "precision": 0.93, "recall": 0.92, "density": 0.99, "coverage": 0.96}
    chain = (
        f"{policy}-r{ratio:.2f}-seed{seed}-{hashlib.sha256(f'{sweep}{ratio}{seed}{policy}'.encode()).hexdigest()[:8]}"
    )
    mixing: dict[str, Any] = {"policy": policy}
    if policy == "blend":
        mixing |= {"synthetic_ratio": ratio, "real_part": "redrawn"}
    per_generation = {"-1": 1024 - num_synthetic}
    if num_synthetic:
        per_generation[str(generation - 1)] = num_synthetic
    digest = hashlib.sha256(key.encode()).hexdigest()
    return Row(
        chain=chain,
        sweep=sweep,
        generation=generation,
        seed=seed,
        policy=policy,
        dataset="made-up",
        generator=generator,
        composition={
            "num_real": 1024 - num_synthetic,
            "num_synthetic": num_synthetic,
            "synthetic_ratio": num_synthetic / 1024,
            "per_generation": per_generation,
        },
        scores=[score(m, float(v), space=space) for m, v in values.items()]
        + [survival(drift, space)]
        + [{**score("fid", float(values["fid"]) - 8, space=space), "reference": "real_train"}]
        + [score(m, v, "real_train", space=space) for m, v in floor.items()]
        + [score("fid", 1.0 + 0.1 * noise[0], "shuffled", space=space)]
        + [
            {**score(metric, level * (1 + drift) + 0.01 * float(noise[0]), space="model"), "parameters": {}}
            for metric, level in ([risk] if risk else [])
        ],
        train={"seconds": 60.0, "images_seen": 12800, "num_steps": 800, "final_loss": 0.05, "num_parameters": 650_000},
        sample={"seconds": 20.0, "images_per_second": 51.2},
        score={"seconds": 4.0},
        artifacts={"real": f"real/{real}", "sample": f"sample/{digest}", "probes": f"sample/{digest}/probes.npy"},
        store_dir=store_dir,
        config={
            "name": sweep,
            "seed": seed,
            "num_generations": 4,
            "data": data or {"name": "procedural", "kind": "flowers", "resolution": 16},
            "generator": {"name": generator, "training": {"num_steps": 800}},
            "mixing": mixing,
            "metrics": {"feature_space": space, "num_images": 1024, "k": 3},
            "protocol": protocol or {"name": None, "version": None},
        },
        config_hash=hashlib.sha256(f"{sweep}{ratio}{seed}{space}".encode()).hexdigest()[:16],
        protocol=protocol or {"name": None, "version": None},
        environment={
            "python": "3.11.2",
            "platform": "made-up",
            "versions": {"torch": "2.9.0", "numpy": "2.0.0"},
            "device": "cpu",
            "processor": "made-up",
            "precision": "fp32",
            "code_revision": "0" * 40,
            "command": f"python -m bench mixing.synthetic_ratio={ratio} seed={seed}",
        },
        finished_at="2026-01-01T00:00:00+00:00",
        wall_seconds=84.5,
    )


def flowers(num: int, blur: float, seed: int, side: int = 16) -> np.ndarray:
    """uint8 (num, 3, side, side): drawn blossoms that dissolve as `blur` goes to 1."""
    y, x = np.mgrid[:side, :side] / (side - 1) * 2 - 1
    pictures = []
    for i in range(num):
        rng = np.random.default_rng([seed, i])
        petals, colour, turn = rng.integers(4, 8), rng.uniform(0.3, 1, 3), rng.uniform(0, 6)
        radius, angle = np.hypot(x, y), np.arctan2(y, x)
        blossom = (radius < 0.45 + 0.35 * np.cos(petals * angle + turn)).astype(float)
        heart = (radius < 0.25).astype(float)
        picture = 0.25 + blossom * (colour[:, None, None] - 0.25)
        picture = picture * (1 - heart) + heart * np.array([0.95, 0.8, 0.2])[:, None, None]
        noise = rng.normal(0, 0.25, (3, side, side))
        pictures.append((1 - blur) * picture + blur * (0.45 + noise))
    return (np.clip(pictures, 0, 1) * 255).astype(np.uint8)


def sweep(
    directory: Path,
    ratios: tuple[float, ...] = (0.0, 0.5, 1.0),
    seeds: tuple[int, ...] = (0, 1, 2),
    num_generations: int = 4,
    pictures: bool = True,
    **kwargs: Any,
) -> Path:
    """Writes ledgers and probes below `directory`; returns the directory of the sweep."""
    store = directory / "store"
    if pictures:
        real = store / "real" / REAL[:2] / REAL / "train" / "items.npy"
        real.parent.mkdir(parents=True, exist_ok=True)
        np.save(real, np.concatenate([flowers(16, 0.1, seed) for seed in range(9)]), allow_pickle=False)
    name = kwargs.get("sweep", "made-up")
    for ratio in ratios:
        for seed in seeds:
            for generation in range(num_generations):
                made = row(ratio, generation, seed, store_dir=str(store), **kwargs)
                ledger.append(directory / name / made.chain / ledger.FILENAME, made)
                if pictures:
                    stage, digest, file = made.artifacts["probes"].split("/")
                    path = store / stage / digest[:2] / digest / file
                    path.parent.mkdir(parents=True, exist_ok=True)
                    blur = min(0.85, 0.1 + 0.25 * ratio * generation)
                    np.save(path, flowers(16, blur, seed), allow_pickle=False)
    return directory / name
