"""Language models: losses and samples against plain code, the same bytes again, folders of a base model, refusals."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from configs import checked
from shrunk import composed

pytest.importorskip("transformers", reason="needs the extra `language`")

from bench import generators, ledger, prefetch, preflight
from bench.datasets import grammar
from bench.errors import ConfigError, DataError, SamplingError, TrainingError
from bench.generators import language_model
from bench.generators.language_model import network, sampling, settings
from bench.generators.language_model.settings import Config, NetworkConfig, SamplingConfig, TrainingConfig
from bench.generators.shared.noise import uniform
from bench.ledger import read_runs
from bench.loop import run_chain
from bench.machine.console import Console
from bench.machine.device import Runtime
from bench.pool import Pool

RUNTIME = Runtime(torch.device("cpu"), None, compile=False)
WORDS = grammar.Config(num_nouns=4, num_verbs=3, num_adjectives=2, block_size=12)
BLOCKS = grammar.draw(WORDS, np.arange(24))
SEEDS = np.arange(1, 11, dtype=np.int64) * 7919


def small(**changes) -> Config:
    training = {"num_steps": 6, "batch_size": 8, "learning_rate": 1e-2, "warmup_steps": 2, "ema_decay": 0.5}
    training |= {"checkpoint_every": 2, **changes.pop("training", {})}
    own = {"vocab_size": 40, "hidden_size": 16, "num_layers": 1, "num_heads": 2, **changes.pop("network", {})}
    drawing = {"prompt_size": 5, **changes.pop("sampling", {})}
    parts = NetworkConfig(**own), TrainingConfig(**training), SamplingConfig(**drawing)
    return Config(network=parts[0], training=parts[1], sampling=parts[2], **changes)


def fitted(config: Config, folder, blocks: np.ndarray = BLOCKS, seed: int = 0, **more):
    generators.fit(config, blocks, seed=seed, out=folder / "model", work=folder / "work", runtime=RUNTIME, **more)
    return folder / "model"


def drawn(config: Config, model, folder, seeds: np.ndarray = SEEDS, prompts: np.ndarray = BLOCKS) -> np.ndarray:
    """Draw a block for each seed, the prompts in turn."""
    given = prompts[np.arange(len(seeds)) % len(prompts)]
    return generators.sample(config, model, seeds, work=folder, runtime=RUNTIME, prompts=given)


def losses(config: Config, model, blocks: np.ndarray) -> np.ndarray:
    return generators.risk(config, model, blocks, np.zeros(len(blocks), np.int64), runtime=RUNTIME)["total"]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    training = {"num_steps": 120, "checkpoint_every": 1000}
    return fitted(small(training=training), tmp_path_factory.mktemp("model"))


def base_folder(folder, **changes):
    """A folder as the hub has it: config.json and model.safetensors."""
    own = network.build(NetworkConfig(vocab_size=40, hidden_size=16, num_layers=1, num_heads=2), 40, 3)
    own.config.update(changes)
    own.save_pretrained(folder)
    return folder


def test_it_learns_the_grammar(tmp_path):
    """From more than the entropy of words alone to near the truth: the excess is of hundredths of a nat."""
    words = grammar.Config(num_nouns=4, num_verbs=3, num_adjectives=2, block_size=16, max_depth=1)
    train, heldout = grammar.draw(words, np.arange(400)), grammar.draw(words, np.arange(1000, 1200))
    config = small(training={"num_steps": 250, "ema_decay": 0.95, "batch_size": 16}, network={"hidden_size": 32})
    model = fitted(config, tmp_path, train)
    truth = grammar.true_risk(words, heldout).mean()
    assert 0 < losses(config, model, heldout).mean() - truth < 0.15 < grammar.unigram_entropy(words) - truth
    samples = drawn(config, model, tmp_path / "sample", np.arange(128) * 7919, train)
    agrees = np.isfinite(grammar.true_risk(words, samples))
    noise = np.random.default_rng(0).permuted(samples, axis=1)
    assert agrees.mean() > 0.3 > 0.01 > np.isfinite(grammar.true_risk(words, noise)).mean()


def test_the_loss_is_that_of_every_token_given_the_start_and_those_before_it(model):
    own = network.load(model, RUNTIME)
    expected = []
    for block in BLOCKS[:3].tolist():
        total = 0.0
        for at, token in enumerate(block):
            logits = own(input_ids=torch.tensor([[0, *block[:at]]])).logits[0, -1].double()
            total += float(logits.logsumexp(0) - logits[token])
        expected.append(total / len(block))
    np.testing.assert_allclose(losses(small(), model, BLOCKS[:3]), expected, rtol=1e-5)


def test_features_are_the_mean_of_the_last_hidden_states(model):
    own = network.load(model, RUNTIME)
    found = language_model.features(small(), model, BLOCKS, runtime=RUNTIME)
    assert found.shape == (24, 16) and found.dtype == np.float32
    tokens = torch.from_numpy(BLOCKS[:1]).long()
    hidden = own.model(input_ids=network.with_start(tokens, 0)).last_hidden_state[0, 1:]
    np.testing.assert_allclose(found[0], hidden.mean(dim=0).numpy(), atol=1e-5)
    np.testing.assert_array_equal(found[5:7], language_model.features(small(), model, BLOCKS[5:7], runtime=RUNTIME))


def by_hand(own, prompt: list[int], seed: int, num: int, context: int, temperature: float) -> list[int]:
    """The draws without a cache: every token from the whole text that the model may read."""
    tokens, kept = list(prompt), 0
    for at in range(num):
        full = len(tokens) - kept >= context or (at == 0 and len(tokens) + num > context)
        if full:
            kept = max(kept, len(tokens) - context // 2)
        logits = own(input_ids=torch.tensor([[0, *tokens[kept:]]])).logits[0, -1].double()
        chances = (logits / temperature).softmax(0)
        clocks = -uniform(torch.tensor([seed]), (len(chances),), draw=at)[0].log() / chances
        tokens.append(int(clocks.argmin()))
    return tokens[len(prompt) :]


@pytest.mark.parametrize(("prompt_size", "context"), [(0, None), (5, None), (None, 8)])
def test_tokens_are_drawn_one_by_one_after_the_end_of_the_prompt(model, tmp_path, prompt_size, context):
    config = small(sampling={"prompt_size": prompt_size, "context_size": context, "temperature": 0.7})
    found = drawn(config, model, tmp_path)
    assert found.dtype == np.int32 and found.shape == (10, 12)
    own = network.load(model, RUNTIME)
    for row, seed in enumerate(SEEDS[:4].tolist()):
        block = BLOCKS[row].tolist()
        prompt = block if prompt_size is None else block[len(block) - prompt_size :]
        assert found[row].tolist() == by_hand(own, prompt, seed, 12, context or 12, 0.7)


def test_draws_have_the_probabilities_of_the_model(model):
    own = network.load(model, RUNTIME)
    prompt = torch.from_numpy(BLOCKS[:1]).long()
    seeds = torch.arange(4000) * 104729
    first = sampling.continued(own, prompt.repeat(4000, 1), seeds, 1, SamplingConfig(context_size=12), RUNTIME)
    chances = own(input_ids=network.with_start(prompt[:, -6:], 0)).logits[0, -1].softmax(0).numpy()
    shares = np.bincount(first[:, 0], minlength=40) / 4000
    np.testing.assert_allclose(shares, chances, atol=4 * (0.25 / 4000) ** 0.5)


def test_top_k_top_p_and_the_penalty_change_the_probabilities(model, tmp_path):
    greedy = drawn(small(sampling={"top_k": 1}), model, tmp_path / "k")
    np.testing.assert_array_equal(greedy, drawn(small(sampling={"top_p": 1e-9}), model, tmp_path / "p"))
    np.testing.assert_array_equal(greedy, drawn(small(sampling={"temperature": 1e-4}), model, tmp_path / "t"))
    no_repeats = drawn(small(sampling={"top_k": 1, "repetition_penalty": 1e6, "prompt_size": 0}), model, tmp_path / "r")
    assert (np.diff(np.sort(no_repeats, axis=1), axis=1) > 0).mean() > 0.95 > (np.diff(np.sort(greedy)) > 0).mean()


def test_beams_find_a_block_at_least_as_likely_as_the_greedy_one(model, tmp_path):
    greedy = drawn(small(sampling={"top_k": 1, "prompt_size": 0}), model, tmp_path / "greedy")
    config = small(sampling={"num_beams": 4, "prompt_size": 0})
    beams = drawn(config, model, tmp_path / "beams")
    assert beams.shape == (10, 12) and len(np.unique(beams, axis=0)) == 1, "without a prompt nothing is left to chance"
    assert losses(config, model, beams)[0] <= losses(config, model, greedy)[0] + 1e-6
    prompted = drawn(small(sampling={"num_beams": 4, "context_size": 8}), model, tmp_path / "prompted")
    assert len(np.unique(prompted, axis=0)) > 1


@pytest.mark.parametrize("num_beams", [1, 3])
def test_a_block_depends_on_its_seed_and_prompt_alone(model, tmp_path, num_beams):
    config = small(sampling={"num_beams": num_beams})
    together = drawn(config, model, tmp_path / "a")
    backwards = drawn(config, model, tmp_path / "b", SEEDS[::-1].copy(), BLOCKS[9::-1])
    np.testing.assert_array_equal(together[::-1], backwards)
    np.testing.assert_array_equal(together[7:8], drawn(config, model, tmp_path / "c", SEEDS[7:8], BLOCKS[7:8]))


class Killed(Exception):
    pass


def test_a_killed_training_ends_in_the_same_bytes(tmp_path):
    config = small(network={"dropout": 0.3})
    whole = fitted(config, tmp_path / "whole")

    def kill(done: int, total: int) -> None:
        if done == 5:
            raise Killed

    with pytest.raises(Killed):
        fitted(config, tmp_path / "killed", progress=kill)
    again = []
    torch.rand(7)  # the global state of random numbers has no part in it
    resumed = fitted(config, tmp_path / "killed", progress=lambda done, total: again.append(done))
    assert again == [5, 6]
    weights = [(folder / "model.safetensors").read_bytes() for folder in (whole, resumed)]
    assert weights[0] == weights[1]
    other = fitted(config, tmp_path / "other", seed=1)
    assert (other / "model.safetensors").read_bytes() != weights[0]
    assert json.loads((whole / "losses.json").read_text())[-1]["step"] == 6


def test_it_trains_on_from_a_model_or_from_a_base_model(model, tmp_path):
    still = {"num_steps": 1, "learning_rate": 1e-9, "ema_decay": 0.0}
    warm = fitted(small(training=still), tmp_path / "warm", init=model)
    np.testing.assert_allclose(losses(small(), warm, BLOCKS), losses(small(), model, BLOCKS), atol=1e-5)
    folder = base_folder(tmp_path / "base")
    config = checked(small(model=str(folder), training=still))
    tuned = fitted(config, tmp_path / "tuned", seed=5)
    np.testing.assert_allclose(losses(config, tuned, BLOCKS), losses(config, folder, BLOCKS), atol=1e-5)
    assert drawn(config, tuned, tmp_path / "sample").shape == (10, 12)
    for change in ({"hidden_size": 8}, {"num_heads": 1}):
        with pytest.raises(ConfigError, match="another network"):
            fitted(small(network=change), tmp_path / "other", init=model)
    with pytest.raises(ConfigError, match="another network"):
        fitted(small(), tmp_path / "shorter", init=model, blocks=BLOCKS[:, :6])


def test_a_base_model_is_known_by_its_content(tmp_path):
    first, second = base_folder(tmp_path / "a"), base_folder(tmp_path / "b")
    specs = [generators.train_spec(small(model=str(folder))) for folder in (first, second)]
    assert specs[0] == specs[1] != generators.train_spec(small())
    assert "content" not in generators.train_spec(small())
    base_folder(second, dropout=0.5)
    assert generators.train_spec(small(model=str(second))) != specs[0]
    hub = [generators.train_spec(small(model="facebook/opt-125m", revision=r)) for r in ("main", "x")]
    assert hub[0] != hub[1] and hub[0]["content"] == {"hub": "facebook/opt-125m"}


def test_folders_that_are_no_base_model_are_refused(tmp_path, monkeypatch):
    folder = base_folder(tmp_path / "base")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ConfigError, match=r"^generator\.model=.*\*\.safetensors: pytorch_model.bin is a pickle"):
        checked(small(model=str(folder)), "generator")
    (folder / "config.json").unlink()
    with pytest.raises(ConfigError, match=r"must be a folder with config.json and \*.safetensors"):
        checked(small(model=str(folder)), "generator")
    with pytest.raises(ConfigError, match="there is no such folder"):
        checked(small(model=str(tmp_path / "nowhere")), "generator")
    nameless = base_folder(tmp_path / "nameless", bos_token_id=None, eos_token_id=None)
    with pytest.raises(ConfigError, match="neither bos_token_id nor eos_token_id"):
        fitted(small(model=str(nameless)), tmp_path)
    damaged = base_folder(tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ConfigError, match=r"generator\.model=.*cannot be loaded with safetensors weights"):
        fitted(small(model=str(damaged)), tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match="Without a network, name a folder"):
        fitted(small(model="nobody/no-such-model"), tmp_path)
    assert not (tmp_path / "model").exists()


def test_a_base_model_that_lacks_weights_is_refused(tmp_path):
    """transformers would draw them at random."""
    from safetensors.torch import load_file, save_file

    folder = base_folder(tmp_path / "base")
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.decoder.layers.0.fc1.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"lack 1 weights, e.g. model.decoder.layers.0.fc1.weight"):
        fitted(small(model=str(folder)), tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": {"num_heads": 3}}, "num_heads=3: must divide hidden_size, which is 16"),
        ({"training": {"horizontal_flip": True}}, "horizontal_flip=True: tokens cannot be flipped"),
        ({"training": {"num_micro_batches": 2}}, "num_micro_batches=2"),
        ({"sampling": {"num_beams": 2, "temperature": 0.5}}, "temperature=0.5: beam search does not sample"),
        ({"sampling": {"prompt_size": 13}}, "prompt_size=13: must be at most data.block_size, which is 12"),
        ({"sampling": {"context_size": 13}}, "context_size=13: must be at most data.block_size"),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    config = small(**changes)
    with pytest.raises(ConfigError, match=message):
        checked(config, "generator")
        generators.check(config, "tokens", (12,))


def test_a_vocabulary_that_does_not_fit_is_refused(model, tmp_path):
    with pytest.raises(DataError, match="token 40 of the data is not in the model's vocabulary of 40"):
        fitted(small(), tmp_path, BLOCKS + 40 - BLOCKS.max())
    with pytest.raises(DataError, match="token -1 of the data"):
        losses(small(), model, BLOCKS - BLOCKS.min() - 1)
    with pytest.raises(DataError, match=r"data\.block_size=13 tokens and one to begin after are more than the 13"):
        losses(small(), model, np.pad(BLOCKS, ((0, 0), (0, 1))))
    wide = composed("experiment=none", "data=grammar", "generator=language_model", "metrics=identity")
    wide.generator.network.vocab_size = 100
    with pytest.raises(ConfigError, match="knows 100 different tokens, but the data have 435"):
        preflight.check_data_and_generator(wide)


def test_a_generator_that_does_not_fit_is_said_with_those_that_do():
    with pytest.raises(ConfigError, match="learns images, but the data are tokens, which language_model can learn"):
        preflight.check_data_and_generator(composed("experiment=none", "data=grammar", "metrics=identity"))
    with pytest.raises(
        ConfigError, match="learns images, but the data are points, which gaussian and gaussian_mixture"
    ):
        preflight.check_data_and_generator(composed("experiment=none", "data=points", "metrics=identity"))
    with pytest.raises(ConfigError, match=r"learns tokens, but the data are points"):
        generators.check(small(), "points", (2,))


def test_weights_that_are_no_numbers_end_a_training_and_a_sampling(model, tmp_path):
    with pytest.raises(TrainingError, match="step"):
        fitted(small(training={"learning_rate": 1e38, "gradient_clip": 1e30}), tmp_path)
    from safetensors.torch import load_file, save_file

    copy = tmp_path / "copy"
    copy.mkdir()
    for path in model.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    tensors = load_file(copy / "model.safetensors")
    tensors["model.decoder.layers.0.fc1.bias"][0] = torch.nan
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SamplingError, match=r"1 weights, e.g. model.decoder.layers.0.fc1.bias, are NaN"):
        drawn(small(), copy, tmp_path / "work")


def test_the_base_model_of_a_run_is_fetched_in_advance(tmp_path, capsys):
    words = ["experiment=none", "data=grammar", "generator=language_model", "metrics=identity", "metrics.scores=[risk]"]
    folder = base_folder(tmp_path / "base")
    assert prefetch.main([*words, f"generator.model={folder}"]) == 0
    assert f"generator=language_model  {folder}" in capsys.readouterr().out
    (folder / "model.safetensors").write_bytes(b"no weights")
    assert prefetch.main([*words, f"generator.model={folder}"]) == 1
    assert "cannot be loaded with safetensors weights" in capsys.readouterr().err


def test_a_missing_package_is_said_with_the_command_that_installs_it(monkeypatch):
    checked(small())
    monkeypatch.setattr(
        settings, "find_spec", lambda name: None if name == "transformers" else importlib.util.find_spec(name)
    )
    with pytest.raises(ConfigError, match=r"^generator\.name=.*pip install 'diffusion-collapse-bench\[language\]'"):
        checked(small(), "generator")


def test_importing_it_loads_neither_torch_nor_transformers():
    code = "import sys, bench.generators.language_model; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_experiment_of_a_language_model_runs_shrunk(tmp_path):
    config = composed(
        "experiment=language_model", "mixing=replace", "num_generations=2", "num_samples=16", "num_probes=2",
        "data.num_train=16", "data.num_heldout=16", "metrics.num_images=16", "generator.training.num_steps=4",
        "generator.training.warmup_steps=0", "generator.training.batch_size=8", "generator.network.hidden_size=16",
        "runtime.device=cpu", f"output_dir={tmp_path}", f"store_dir={tmp_path}/store",
    )  # fmt: skip
    (chain,) = read_runs([run_chain(config, Console(quiet=True))])
    assert [row.composition["synthetic_ratio"] for row in chain.rows] == [0, 1]
    assert [row.train["num_steps"] for row in chain.rows] == [4, 4], "retrain_epochs=2"
    assert {s["metric"] for s in chain.rows[1].scores} >= {"excess_risk", "fid", "perplexity", "rare_survival"}
    assert Pool.load(tmp_path / "store" / chain.rows[1].artifacts["samples"]).items.shape == (16, 64)


def test_every_generation_continues_the_real_blocks_in_turn(tmp_path, monkeypatch):
    """Samples and probes of every generation have the prompts of the real pool, also where none of it is trained on."""
    asked = []
    honest = generators.sample

    def note(*args, **given):
        asked.append(given["prompts"])
        return honest(*args, **given)

    monkeypatch.setattr(generators, "sample", note)
    config = composed(
        "experiment=language_model", "mixing=replace", "data.num_train=10", "data.num_heldout=8", "num_samples=13",
        "metrics.num_images=8", "metrics.k=2", "metrics.scores=[risk]", "metrics.options={}", "num_generations=2",
        "num_probes=3", "warm_start=false", "retrain_epochs=null", "generator.training.num_steps=2",
        "generator.training.batch_size=4", "generator.training.warmup_steps=0", "runtime.device=cpu",
        f"output_dir={tmp_path}",
    )  # fmt: skip
    chain = run_chain(config, Console(quiet=True))
    row = ledger.read(chain / "ledger.jsonl")[0]
    real = Pool.load(Path(row.store_dir) / row.artifacts["real"] / "train").items
    expected = np.concatenate([real, real[:3], real[:3]])
    assert len(asked) == 2
    for prompts in asked:
        np.testing.assert_array_equal(prompts, expected)
