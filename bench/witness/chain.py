"""Checks of one chain: its training sets, initial models, training, seeds, samples and scores."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.unets.unet_2d import UNet2DModel

from bench.composition import Composition
from bench.ledger import Row
from bench.pool import REAL, Pool
from bench.witness import diffusion, independent_scores, stored_results
from bench.witness.diffusion import derive
from bench.witness.policies import compose

ENDLESS = ("procedural", "points", "grammar")
"""Data sets that are drawn without end and split by number."""
IN_TWO_PARTS = ("mnist", "cifar10", "text")
"""Data sets whose held-out items are of another published part, each part in an order of its own."""
GREY_LEVELS = {"fp32": 0.25, "bf16": 1.5}
"""Precision -> tolerated difference of a recomputed sample, in grey levels averaged over its pixels."""
MOVED = 0.05
"""Tolerated difference of retrained weights, as a share of the distance by which training moved them."""


class Witness:
    """Examines the rows of one chain, in order.

    problems: the differences, one sentence each. unchecked: what was not recomputed, one phrase each.
    """

    def __init__(self, num_samples: int = 3, max_steps: int = 200) -> None:
        """Prepare to follow a chain. num_samples: how many samples of each generation to recompute. max_steps: length
        of the longest training to repeat, in steps."""
        self.num_samples, self.max_steps = num_samples, max_steps
        self.problems: list[str] = []
        self.unchecked: list[str] = []
        self.pools: dict[Any, Pool] = {}  # "heldout", "train", "reserve", and the samples of each generation
        self.compared: set[tuple[str, str]] = set()  # (space, pool) whose stored features were compared with images
        self.fitted: dict[str, Any] = {}  # classifiers trained on real images, by attribute
        self.models: list[tuple[str, diffusion.Weights]] = []  # key in the store and weights, by generation

    def expect(self, true: Any, problem: str) -> None:
        """Record a problem unless a condition holds."""
        if not bool(true):
            self.problems.append(f"{self.row.chain} generation {self.g}: {problem}")

    def examine(self, row: Row) -> None:
        """Check one generation."""
        self.row, self.config, self.g, self.seed = row, row.config, row.generation, row.config["seed"]
        self.folder = {name: Path(row.store_dir) / path for name, path in row.artifacts.items()}
        self.warm = bool(self.config["warm_start"] and self.g)
        generator = self.config["generator"]
        self.is_ddpm = generator["name"] == "ddpm" and generator["noise"]["prediction"] != "edm"
        try:
            for check in (
                self.links, self.split, self.composition, self.training, self.remedy, self.samples, self.scores
            ):  # fmt: skip
                check()
        except (OSError, KeyError, ValueError, IndexError, TypeError, RuntimeError, AssertionError) as error:
            self.expect(False, f"cannot be derived again: {type(error).__name__}: {error}")

    def links(self) -> None:
        """Check which result was computed from which, and compare the ledger's facts with those of the results."""
        manifest, spec = {}, {}
        for stage in ("real", "train", "remedy", "sample", "score"):
            if stage == "remedy" and stage not in self.folder:
                continue
            manifest[stage], spec[stage] = stored_results.read_result(self.folder[stage])
            facts = getattr(self.row, stage, manifest[stage]["facts"])
            self.expect(facts == manifest[stage]["facts"], f"the ledger's facts of {stage} are not those of its result")
        self.expect(self.g == len(self.models), "generations before it are missing")
        start = self.models[-1][0] if self.warm else None
        train, sample = spec["train"], spec["sample"]
        self.expect(train["init"] == start, f"its training began from {train['init']}, expected {start}")
        self.expect(train["seed"] == derive(self.seed, self.g, "train"), "its training has another seed")
        drawn_from = "remedy" if "remedy" in self.folder else "train"
        self.expect(sample["model"] == manifest[drawn_from]["key"], "its samples are another model's")
        if "remedy" in self.folder:
            self.expect(spec["remedy"]["model"] == manifest["train"]["key"], "its remedy is of another model")
        self.expect((sample["seed"], sample["generation"]) == (self.seed, self.g), "its samples are another seed's")
        self.expect(
            spec["score"]["samples"] == Pool.load(self.folder["samples"]).id, "its scores are those of other samples"
        )
        rows = json.loads((self.folder["score"] / "scores.json").read_text())
        self.expect(rows == self.row.scores, "the ledger's scores are not those of its result")
        self.key, self.uses = manifest["train"]["key"], list(manifest["score"]["uses"])
        for stage, digest in (key.split("/") for key in manifest["score"]["uses"]):
            if stage == "floor":  # a floor is itself computed from features of real images
                folder = Path(self.row.store_dir) / stage / digest[:2] / digest
                self.uses += stored_results.read_result(folder)[0]["uses"]

    def split(self) -> None:
        """Check that real pools are disjoint by name and divided in the order of the documented hash. By pixels, check
        that the reserve has no held-out image and that training has as many as noted."""
        names = [name for name in ("heldout", "train", "reserve") if (self.folder["real"] / name).exists()]
        parts = [self.pools.setdefault(name, Pool.load(self.folder["real"] / name)) for name in names]
        ids = [name for part in parts for name in part.records.source_id.tolist()]
        heldout, rest = ids[: len(parts[0])], ids[len(parts[0]) :]
        data = self.config["data"]
        are_two = data["name"] in IN_TWO_PARTS
        orders = [[place(data, name) for name in run] for run in ((heldout, rest) if are_two else (ids,))]
        self.expect(
            len(set(ids)) == len(ids) and all(order == sorted(order) for order in orders),
            "real images are not split by data.split_seed",
        )
        published = [{name.partition("-")[0] for name in run} for run in (heldout, rest)]
        self.expect(not are_two or not published[0] & published[1], "held-out items are of the published training part")
        sizes = [len(part) for part in parts[:2]]
        self.expect(sizes == [data["num_heldout"], data["num_train"] or sizes[1]], f"{sizes} held-out and real images")
        pixels = [{image.tobytes() for image in part.items} for part in parts]
        twins = sum(image.tobytes() in pixels[1] for image in parts[0].items)
        noted = parts[0].notes["num_identical_to_training"]
        self.expect(twins == noted, f"{twins} held-out images are training images by their pixels, {noted} noted")
        self.expect(not any(pixels[0] & other for other in pixels[2:]), "held-out images are in the reserve")

    def composition(self) -> None:
        """Derive the training set from the configuration alone, and check the counts in the ledger."""
        trained_on = Composition.load(self.folder["train"])
        drawn = Composition.load(self.folder["vet"] / "drawn") if "vet" in self.folder else trained_on
        if "vet" in self.folder:
            self.unchecked.append("what vetting rules drop: bench.audit recounts the stored decision")
        pools = dict(self.pools)
        if "join" in self.folder:
            pools["train"] = Pool.load(self.folder["join"] / "pool")
            self.unchecked.append("what newcomers take for real: bench.audit gathers it again")
        named = {pool.id: name for name, pool in pools.items()}
        parts = {named.get(part.pool.id): part.rows for part in drawn.parts}
        self.expect(None not in parts and "heldout" not in parts, "it trained on held-out images or a foreign pool")
        sizes = {name: len(pool) for name, pool in pools.items()}
        if "reserve" in sizes:  # a vetting rule calibrates itself on its end
            sizes["reserve"] -= self.row.vetting.get("num_calibration", 0)
        expected = compose(self.config["mixing"], self.g, self.seed, sizes)
        if expected is None:
            self.unchecked.append("training sets of mixing=custom: bench.audit composes them again by its own code")
        else:
            same = expected.keys() == parts.keys() and all(
                np.array_equal(expected[name], parts[name]) for name in expected
            )
            self.expect(same, "it trained on other images than policy and seed compose")
        retained, fresh = (len(parts.get(name, ())) for name in ("train", "reserve"))
        made = [(pools[name].records.generation[rows] != REAL).sum() for name, rows in parts.items()]
        num_synthetic, num_items = int(sum(made)), sum(map(len, parts.values()))
        counted = {
            "num_real": num_items - num_synthetic,
            "num_synthetic": num_synthetic,
            "num_fresh": fresh,
            "synthetic_ratio": num_synthetic / num_items,
            "synthetic_per_real": num_synthetic / sizes["train"],
            "real_retained": retained / sizes["train"],
            "num_distinct": sum(len(set(rows.tolist())) for rows in parts.values()),
        }
        wrong = [
            f"{k} is {self.row.composition[k]}, counted {v}" for k, v in counted.items() if self.row.composition[k] != v
        ]
        self.expect(not wrong, "; ".join(wrong))
        self.parts = [(pools[named[part.pool.id]], part.rows) for part in trained_on.parts]

    def training(self) -> None:
        """Check the number of steps, and recompute the averaged weights in a plain loop over the documented draws."""
        if not self.is_ddpm:
            self.models.append((self.key, {}))
            self.unchecked.append(f"models of generator {self.row.generator}")
            return
        generator, about = self.config["generator"], self.config["generator"]["training"]
        images = np.concatenate([pool.items[rows] for pool, rows in self.parts])
        epochs = (self.config["retrain_epochs"] if self.g else None) or about["num_epochs"]
        steps = math.ceil(epochs * len(images) / about["batch_size"]) if epochs else about["num_steps"]
        steps = (self.config.get("retrain_steps") if self.g else None) or steps
        facts = self.row.train
        seen = (facts["num_steps"], facts["images_seen"])
        self.expect(
            seen == (steps, steps * about["batch_size"]), f"{seen} steps and images seen, expected {steps} steps"
        )
        unet = UNet2DModel.from_pretrained(self.folder["train"] / "model" / "unet", low_cpu_mem_usage=False)
        widths = list(unet.config["block_out_channels"])
        self.expect(widths == generator["unet"]["channels"], f"its network has widths {widths}")
        start = self.models[-1][1] if self.warm else None
        self.models.append((self.key, unet.state_dict()))
        where = (self.row.environment["precision"], self.row.environment["device"], facts["num_micro_batches"])
        if where != ("fp32", "cpu", 1) or self.row.environment["compile"] or steps > self.max_steps:
            self.unchecked.append(f"weights of trainings of over {self.max_steps} steps, in bf16, or compiled")
            return
        seed = derive(self.seed, self.g, "train")
        replayed = diffusion.train(unet.config, generator, images, steps, seed, start)
        first, made, stored = (
            torch.cat([value.flatten() for value in weights.values()]) for weights in (*replayed, unet.state_dict())
        )
        off = float((stored - made).norm() / (made - first).norm())
        self.expect(
            off < MOVED, f"its weights differ from replayed ones by {off:.2f} of the distance that training moved them"
        )

    def remedy(self) -> None:
        """Check the seeds of own samples, and compute Neon's weights from the two models that it combines."""
        self.guide: tuple[Path, float] | None = None
        asked = self.config.get("remedy", {"name": "none"})
        self.expect(
            ("remedy" in self.folder) == (asked["name"] != "none"), f"its result is not that of remedy {asked['name']}"
        )
        if "remedy" not in self.folder or not self.is_ddpm:
            return
        own, weight, model = Pool.load(self.folder["remedy"] / "own"), asked["weight"], self.folder["model"]
        seeds = [derive(self.seed, self.g, "own sample", i) for i in range(asked["num_samples"])]
        self.expect(own.records.seed.tolist() == seeds, "the own samples of its remedy have other seeds")
        self.unchecked.append("trainings on own samples")
        folders = (self.folder["train"] / "model", model / "self_trained", model)
        trained, other, made = (
            UNet2DModel.from_pretrained(folder / "unet", low_cpu_mem_usage=False).state_dict() for folder in folders
        )
        factor = weight if asked["name"] == "neon" else 0.0
        off = max(float((trained[n] + factor * (trained[n] - other[n]) - made[n]).abs().max()) for n in made)
        self.expect(off < 1e-4, f"the weights of its remedy differ by {off:.2g}")
        self.guide = (folders[1] / "unet", weight) if asked["name"] == "sims" else None

    def samples(self) -> None:
        """Check the seeds of all samples, and recompute a few samples and a probe from the stored model."""
        pool = self.pools[self.g] = Pool.load(self.folder["samples"])
        indices = range(len(pool))
        if "select" in self.folder:
            indices = np.load(self.folder["select"] / "rows.npy", allow_pickle=False).tolist()
            self.unchecked.append("which samples a selection keeps: bench.audit compares them with the stored rows")
        seeds = [derive(self.seed, self.g, "sample", i) for i in indices]
        self.expect(
            pool.records.seed.tolist() == seeds, "its samples have other seeds than run, generation and index give"
        )
        self.expect((pool.records.generation == self.g).all(), "its samples are recorded as another generation's")
        probes = np.load(self.folder["probes"], allow_pickle=False)
        self.expect(len(probes) == self.config["num_probes"], f"it has {len(probes)} probes")
        if not self.is_ddpm:
            self.unchecked.append(f"samples of generator {self.row.generator}")
            return
        rows = np.unique(np.linspace(0, len(seeds) - 1, self.num_samples).round().astype(int)).tolist()
        keys = [*(seeds[i] for i in rows), derive(self.seed, 0, "probe", len(probes) - 1)]
        precision = self.row.environment["precision"]
        unet, bf16 = self.folder["model"] / "unet", precision == "bf16"
        made = diffusion.sample(unet, self.config["generator"], keys, bf16, self.guide)
        stored = np.concatenate([pool.items[rows], probes[-1:]]).astype(float)
        for name, off in zip([*rows, "(probe)"], np.abs(stored - made).mean((1, 2, 3)), strict=True):
            self.expect(
                off <= GREY_LEVELS[precision],
                f"sample {name} differs from what its seed gives by {off:.1f} grey levels",
            )

    def scores(self) -> None:
        """Compute features from stored images, and every score from the stored features, space by space."""
        about = self.config["metrics"]
        spaces = (about["feature_space"], *about.get("extra_spaces", []))
        rows = [[entry for entry in self.row.scores if entry["feature_space"] == space] for space in spaces]
        if sum(map(len, rows)) < len(self.row.scores):
            self.unchecked.append("scores that are not computed from features")
        for space, entries in zip(spaces, rows, strict=True):
            if entries:
                self.scores_in(space, entries)

    def scores_in(self, space: str, entries: list[dict[str, Any]]) -> None:
        """Check the scores of one feature space."""
        about, heldout, train, samples = self.config["metrics"], *(self.pools[p] for p in ("heldout", "train", self.g))
        pools = [heldout, train, samples]
        if space == about["feature_space"]:
            pools += [pool for pool, _ in self.parts]
        features = {pool.id: self.features(pool, space) for pool in pools}
        n = about["num_images"]
        sides = {"samples": features[samples.id][:n], "heldout": features[heldout.id][:n]}
        order = np.random.default_rng(0).permutation(2 * n)
        shuffled = independent_scores.canonical(np.concatenate([sides["samples"], sides["heldout"]]))[order]
        sides |= {"real_train": features[train.id], "shuffled": shuffled[:n]}
        training, twin = features[train.id][:0], None
        if space == about["feature_space"]:
            training = np.concatenate([features[pool.id][rows] for pool, rows in self.parts])
            training = training[np.random.default_rng(0).permutation(len(training))]
            sides["training"] = training
            twin = self.twin(features)
            told = {"closer_to_training"} & {entry["metric"] for entry in entries}
            if "copying" in about["scores"]:
                self.expect(
                    bool(told) == (twin is not None), "its training set has a twin and no score, or the reverse"
                )
        real = [(features[pool.id], pool.records.labels) for pool in (train, heldout)]
        for entry in entries:
            x = sides[entry["subject"]]
            y = shuffled[n:] if entry["subject"] == "shuffled" else sides[entry["reference"]]
            size = min(len(x), len(y))
            name = f"{entry['metric']} of {entry['subject']} against {entry['reference']} in {space}"
            self.expect(
                (entry["num_subject"], entry["num_reference"]) == (size, size), f"{name} has another N than {size}"
            )
            try:
                if entry["metric"] in independent_scores.HALLUCINATIONS:
                    drawn = Pool.load(self.folder["real"] / "calibration")
                    known = self.features(drawn, space), drawn.records.labels
                    found = independent_scores.hallucinations(
                        entry["metric"], x[:size], known, features[heldout.id], self.row.dataset, self.fitted
                    )
                else:
                    found = independent_scores.score(entry, x[:size], y[:size], training, twin, real, self.fitted)
                value, slack = found
            except NotImplementedError:
                self.unchecked.append(entry["metric"])
                continue
            except ImportError as error:
                self.unchecked.append(
                    f"{entry['metric']}: {error.name} is missing, pip install 'diffusion-collapse-bench[audit]'"
                )
                continue
            self.expect(
                abs(value - entry["value"]) <= slack, f"{name} is {entry['value']:.6g}, derived again {value:.6g}"
            )

    def twin(self, features: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray] | None:
        """Return features of items that were trained on and of equally many that were not, float32 (n, d) each.

        All pools contribute the same share of their items. Held-out images stand in for unused real images; for
        samples, they are unused samples of the same generation. None after vetting, with samples taken for real, or if
        fewer than two items of a side remain.
        """
        if "vet" in self.folder or any((pool.records.generation < REAL).any() for pool, _ in self.parts):
            return None
        heldout, groups = self.pools["heldout"], []
        used_real, unused_real = [], [(heldout.id, row) for row in range(len(heldout))]
        for pool, rows in self.parts:
            used = sorted(set(rows.tolist()))
            if pool.records.generation[0] < 0:
                used_real += [(pool.id, row) for row in used]
            else:
                unused = sorted(set(range(len(pool))) - set(used))
                groups.append(([(pool.id, row) for row in used], [(pool.id, row) for row in unused]))
        groups = [(used_real, unused_real), *groups] if used_real else groups
        over, under = min(((len(unused), len(used)) for used, unused in groups), key=lambda pair: pair[0] / pair[1])
        random = np.random.default_rng(0)
        sides: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        for pairs in groups:
            size = min(len(pairs[0]), len(pairs[0]) * over // under)
            for side, items in zip(sides, pairs, strict=True):
                side += [features[items[i][0]][items[i][1]] for i in random.permutation(len(items))[:size]]
        return (np.stack(sides[0]), np.stack(sides[1])) if len(sides[0]) > 1 else None

    def features(self, pool: Pool, space: str) -> np.ndarray:
        """Return the stored features of a pool, float32 (N, d). On first use, compare them with recomputed ones."""
        stored = stored_results.find_features(Path(self.row.store_dir), self.uses, pool.id, space)
        if (space, pool.id) in self.compared:  # one result for all generations
            return stored
        self.compared.add((space, pool.id))
        about = self.config["metrics"]
        weights = about["weights"] if space == about["feature_space"] else about["extra_weights"].get(space)
        made = independent_scores.extract(pool.items, space, weights)
        if made is None:
            self.unchecked.append(f"features of {space}")
        else:
            off = float(np.abs(made - stored).mean() / stored.std())
            self.expect(off < 1e-3, f"features of {len(pool)} stored images differ by {off:.2g} of their spread")
        return stored


def place(data: dict[str, Any], name: str) -> str:
    """Return what an item's part of the split is in the order of: its own name, or the documented hash of it."""
    if data["name"] in ENDLESS:
        return name
    if data["name"] == "text":
        part, _, number = name.rpartition("-")
        name = f"num_{part}-{int(number)}"
    return stored_results.sha256(f"{data['split_seed']}/{name}".encode())
