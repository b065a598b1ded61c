"""Hostile inputs: data, weights, archives and labels made to do harm, each read by a process of its own.

A try survives where that process is done in time and in little memory, ends in a `BenchError` or, for labels, in an
intact report, and has run none of the code that the input carries.
"""

import csv
import io
import multiprocessing
import os
import pickle
import random
import resource
import sys
import tarfile
import traceback
import warnings
import xml.etree.ElementTree as ET
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from configs import FolderConfig, NpzConfig
from faults.shared import Tally
from PIL import Image
from safetensors.torch import save_file

from bench import ledger
from bench.datasets import load_real
from bench.datasets.shared import archive
from bench.errors import BenchError
from bench.features import efficientnet_lite0
from bench.files import sha256_of

MEMORY = 600_000_000
"""Bytes that a try may take beyond those of the process that it is forked from."""
SECONDS = 60
"""After which a try counts as hanging."""


class Code:
    """What runs when it is read as a pickle: it leaves a file at a path."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


Attempt = Callable[[Path, random.Random], Any]
"""Makes a hostile input in a folder that holds nothing, and reads it. Code of the input would make `folder / "ran"`."""


def _limited(attempt: Attempt, folder: Path, seed: int, ends_well: bool) -> None:
    """Run an attempt within the limits; exit with 0 if it ended as it must."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, resource.RLIM_INFINITY))
    torch.set_num_threads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    try:
        attempt(folder, random.Random(seed))
    except BenchError:
        os._exit(1 if ends_well else 0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0 if ends_well else 1)


def _try_all(
    attempts: dict[str, Attempt], folder: Path, count: int, rng: random.Random, *, ends_well: bool = False
) -> Tally:
    """Make `count` attempts, each kind in turn. ends_well: whether they must end without an error, or with one."""
    tally, fork = Tally(), multiprocessing.get_context("fork")
    for number in range(count):
        name = list(attempts)[number % len(attempts)]
        own = folder / str(number)
        own.mkdir(parents=True)
        process = fork.Process(target=_limited, args=(attempts[name], own, rng.randrange(2**32), ends_well))
        process.start()
        process.join(SECONDS)
        hangs = process.is_alive()
        process.kill()
        process.join()
        tally.add(process.exitcode == 0 and not (own / "ran").exists(), f"{name}{' hangs' if hangs else ''}")
        tally.places[name] += 1
    return tally


# ------------------------------------------------------------------------------------------------- npz and labels


def _arrays(**others: Any) -> dict[str, Any]:
    return {"images": np.arange(10, dtype=np.uint8)[:, None, None, None] + np.zeros((10, 8, 8, 3), np.uint8), **others}


def _read_npz(file: Path) -> None:
    load_real(NpzConfig(path=str(file), resolution=8, num_heldout=2))


def _npz(**others: Any) -> Attempt:
    """Read an archive with these arrays beside, or instead of, ten good images."""

    def attempt(folder: Path, rng: random.Random) -> None:
        np.savez(folder / "a.npz", **_arrays(**others))
        _read_npz(folder / "a.npz")

    return attempt


def _harmed(harm: Callable[[bytearray, random.Random], bytes]) -> Attempt:
    """Read an archive whose bytes were harmed."""

    def attempt(folder: Path, rng: random.Random) -> None:
        np.savez_compressed(folder / "a.npz", **_arrays(labels=np.arange(10) % 2))
        (folder / "a.npz").write_bytes(harm(bytearray((folder / "a.npz").read_bytes()), rng))
        _read_npz(folder / "a.npz")

    return attempt


def _encrypt(body: bytearray, rng: random.Random) -> bytes:
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := body.find(signature, at + 1)) >= 0:
            body[at + offset] |= 1
    return bytes(body)


def _corrupt(body: bytearray, rng: random.Random) -> bytes:
    body[70:170] = rng.randbytes(100)  # within the compressed images
    return bytes(body)


def _header(shape: tuple[int, ...], dtype: str) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": dtype})
    return file.getvalue()


def _bomb(member: str, shape: tuple[int, ...], dtype: str, size: int) -> Attempt:
    """Read an archive with a member of `size` zeros, a thousandth of that on the disk."""

    def attempt(folder: Path, rng: random.Random) -> None:
        np.savez(folder / "a.npz", **{name: a for name, a in _arrays().items() if f"{name}.npy" != member})
        with (
            zipfile.ZipFile(folder / "a.npz", "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
            archive.open(member, "w", force_zip64=True) as file,
        ):
            file.write(_header(shape, dtype))
            for _ in range(size >> 24):
                file.write(bytes(1 << 24))
        _read_npz(folder / "a.npz")

    return attempt


def _pickled(folder: Path, rng: random.Random) -> None:
    np.savez(folder / "a.npz", **_arrays(labels=np.asarray([Code(folder / "ran")] * 10, dtype=object)))
    _read_npz(folder / "a.npz")


NPZ: dict[str, Attempt] = {
    "truncated": _harmed(lambda body, rng: bytes(body[: rng.randrange(len(body) - 30)])),
    "corrupt": _harmed(_corrupt),
    "encrypted": _harmed(_encrypt),
    "no archive": _harmed(lambda body, rng: rng.randbytes(500)),
    "pickle": _pickled,
    "labels that claim 8 TB": _bomb("labels.npy", (10**12,), "<i8", 0),
    "labels of 1 GiB": _bomb("labels.npy", (1 << 27,), "<i8", 1 << 30),
    "images that claim 3 PB": _bomb("images.npy", (10**9, 1000, 1000, 3), "|u1", 0),
    "label 2**40": _npz(labels=np.asarray([2**40, *range(9)])),
    "label -2**40": _npz(labels=np.asarray([-(2**40), *range(9)])),
    "label 2**64 - 1": _npz(labels=np.asarray([2**64 - 1, *range(9)], dtype=np.uint64)),
    "NaN labels": _npz(labels=np.full(10, np.nan)),
    "too few labels": _npz(labels=np.arange(9)),
    "names twice": _npz(filenames=np.asarray(["../a.jpg"] * 10)),
    "float images": _npz(images=np.full((10, 8, 8, 3), np.inf)),
    "no images": _npz(images=np.zeros((0, 8, 8, 3), np.uint8)),
}


def npz(folder: Path, count: int, rng: random.Random) -> Tally:
    """An npz is truncated, corrupt, encrypted, a pickle, a bomb, or has labels that no class has: it is refused."""
    return _try_all(NPZ, folder, count, rng)


# ------------------------------------------------------------------------------------------------------- folders


def _named(name: bytes, make: Callable[[bytes], Any]) -> Attempt:
    """Read a folder of eight good pictures and one entry that `make` makes at a path."""

    def attempt(folder: Path, rng: random.Random) -> None:
        (folder / "data").mkdir()
        for number in range(8):
            Image.new("RGB", (8, 8), (number * 20,) * 3).save(folder / "data" / f"{number}.png")
        make(bytes(folder / "data") + b"/" + name)
        load_real(FolderConfig(path=str(folder / "data"), resolution=8, num_heldout=2))

    return attempt


def _write(content: bytes) -> Callable[[bytes], Any]:
    return lambda path: Path(os.fsdecode(path)).write_bytes(content)


def _link(target: str) -> Callable[[bytes], Any]:
    return lambda path: Path(os.fsdecode(path)).symlink_to(target)


def _png_of(side: int) -> bytes:
    """Return a PNG file whose header claims `side` times `side` pixels."""
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "png")
    body = bytearray(file.getvalue())
    body[16:24] = side.to_bytes(4, "big") * 2
    body[29:33] = zlib.crc32(body[12:29]).to_bytes(4, "big")
    return bytes(body)


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 24 24\n%%EndComments\n(x) print\n%%EOF\n"

FOLDER: dict[str, Attempt] = {
    "FIFO": _named(b"x.jpg", os.mkfifo),
    "device": _named(b"x.jpg", _link("/dev/zero")),
    "link to nothing": _named(b"x.jpg", _link("nowhere")),
    "link to itself": _named(b"x.jpg", _link("x.jpg")),
    "folder": _named(b"x.jpg", os.mkdir),
    "name not in UTF-8": _named(b"\xff\xfe.jpg", _write(b"x")),
    "PostScript": _named(b"x.jpg", _write(POSTSCRIPT)),
    "empty": _named(b"x.png", _write(b"")),
    "10 gigapixels": _named(b"x.png", _write(_png_of(100_000))),
    "pickle": _named(b"x.png", _write(pickle.dumps(Code(Path("ran"))))),
}


def pictures(folder: Path, count: int, rng: random.Random) -> Tally:
    """A folder of pictures has a FIFO, device, dead link, foreign name, program or bomb among them: it is refused."""
    return _try_all(FOLDER, folder, count, rng)


# ------------------------------------------------------------------------------------------------------ archives


def _archived(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Attempt:
    """Unpack an archive with one more member after an innocent one."""

    def attempt(folder: Path, rng: random.Random) -> None:
        with tarfile.open(folder / "a.tgz", "w:gz") as tar:
            for path, of, target in (("data/a.txt", tarfile.REGTYPE, ""), (name, kind, link)):
                member = tarfile.TarInfo(path)
                member.type, member.linkname, member.size = of, target, 1 if of == tarfile.REGTYPE else 0
                tar.addfile(member, io.BytesIO(b"x"))
        try:
            archive.unpack(folder / "a.tgz", "data", folder / "in" / "there", sha256_of(folder / "a.tgz"))
        finally:
            left = {path.name for path in folder.rglob("*")} - {"a.tgz", "in"}
            assert not left, f"left behind: {left}"

    return attempt


def _no_tar(body: Callable[[bytes, random.Random], bytes]) -> Attempt:
    def attempt(folder: Path, rng: random.Random) -> None:
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w:gz") as tar:
            member = tarfile.TarInfo("data/a.bin")
            member.size = 10_000
            tar.addfile(member, io.BytesIO(rng.randbytes(10_000)))
        (folder / "a.tgz").write_bytes(body(file.getvalue(), rng))
        archive.unpack(folder / "a.tgz", "data", folder / "there", sha256_of(folder / "a.tgz"))

    return attempt


ARCHIVES: dict[str, Attempt] = {
    "../": _archived("../escaped"),
    "data/../../": _archived("data/../../escaped"),
    "link outside": _archived("data/b", tarfile.SYMTYPE, "../../../etc"),
    "absolute link": _archived("data/b", tarfile.SYMTYPE, "/etc/passwd"),
    "hard link outside": _archived("data/b", tarfile.LNKTYPE, "../../escaped"),
    "device": _archived("data/b", tarfile.CHRTYPE),
    "FIFO": _archived("data/b", tarfile.FIFOTYPE),
    "truncated": _no_tar(lambda body, rng: body[: rng.randrange(100, len(body) - 100)]),
    "no archive": _no_tar(lambda body, rng: rng.randbytes(500)),
}


def archives(folder: Path, count: int, rng: random.Random) -> Tally:
    """An archive leads outside, holds links or devices, or is broken: it is refused, and nothing of it is left."""
    return _try_all(ARCHIVES, folder, count, rng)


# ------------------------------------------------------------------------------------------------------- weights


def _weights(name: str, write: Callable[[Path, random.Random], Any]) -> Attempt:
    """Load a file of weights that `write` wrote."""

    def attempt(folder: Path, rng: random.Random) -> None:
        write(folder / name, rng)
        efficientnet_lite0.load(str(folder / name))

    return attempt


def _huge_safetensors(path: Path, rng: random.Random) -> None:
    header = b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header)


def _zipped_pickle(path: Path, rng: random.Random) -> None:
    torch.save({"a": torch.zeros(2), "b": Code(path.parent / "ran")}, path)


WEIGHTS: dict[str, Attempt] = {
    "pickle": _weights("a.pth", lambda path, rng: path.write_bytes(pickle.dumps(Code(path.parent / "ran")))),
    "pickle in torch's format": _weights("a.pth", _zipped_pickle),
    "random": _weights("a.pth", lambda path, rng: path.write_bytes(rng.randbytes(1000))),
    "empty": _weights("a.pth", lambda path, rng: path.write_bytes(b"")),
    "folder": _weights("a.pth", lambda path, rng: path.mkdir()),
    "no tensors": _weights("a.pth", lambda path, rng: torch.save([1, 2], path)),
    "wrong shapes": _weights("a.safetensors", lambda path, rng: save_file({"conv_stem.weight": torch.zeros(1)}, path)),
    "no names": _weights("a.safetensors", lambda path, rng: save_file({}, path)),
    "claims 4 TB": _weights("a.safetensors", _huge_safetensors),
    "random safetensors": _weights("a.safetensors", lambda path, rng: path.write_bytes(rng.randbytes(1000))),
}


def weights(folder: Path, count: int, rng: random.Random) -> Tally:
    """A file of weights is a pickle that runs code, of another network, broken, or claims terabytes: it is refused."""
    return _try_all(WEIGHTS, folder, count, rng)


# -------------------------------------------------------------------------------------------------------- labels

SIGNS = ("%DATA%", "🐦", "\u202ert", "a\u2028b", "nul\0", "a $ b", "$\\frac{$", "]]></script>", "line\nbreak", "a | b")
SIGNS += ("<img src=x onerror=alert(1)>", "&amp;", "\\input{/etc/passwd}", "\ud800", "../../x", "x" * 2000, '"', "'")
FORMULAS = ("=", "+", "-", "@", "\t=")


def _labels(folder: Path, rng: random.Random) -> None:
    """Write a report of a sweep, a class and a policy of hostile names, and parse what it wrote."""
    import fabricate  # of tests/report

    from bench.report import write

    name = rng.choice(FORMULAS) + "".join(rng.sample(SIGNS, 4))
    file = folder / "runs" / "one" / ledger.FILENAME
    row = fabricate.row(0.5, 0, 0)
    counts = fabricate.survival(0.1, fabricate.SPACE) | {"parameters": {"attribute": name}}
    counts["counts"] = {name if key == "daisy" else key: value for key, value in counts["counts"].items()}
    mixing = {"policy": "custom", "function": f"m:{name}", "parameters": {}}
    row = replace(row, sweep=name, policy="custom", config={**row.config, "name": name, "mixing": mixing})
    ledger.append(file, replace(row, scores=[*row.scores, counts]))
    with warnings.catch_warnings(action="ignore"):  # of glyphs that the figures' font lacks
        report = write([folder / "runs"], folder / "report")
    for path in report.paths:
        text = path.read_text(encoding="utf-8") if path.suffix in (".md", ".tex", ".html", ".svg", ".csv") else ""
        assert path.suffix == ".csv" or not set(text) & set("\0\u2028\u202e"), path
        assert "<img src=x" not in text or path.suffix in (".md", ".csv"), path
        if path.suffix == ".svg":
            ET.fromstring(text)
        elif path.suffix == ".html":
            assert text.count("</script>") == text.count("<script") and text.endswith("</html>\n"), path
        elif path.suffix == ".csv":
            assert all(row["study"][0] not in "=+-@\t\r" for row in csv.DictReader(io.StringIO(text, newline=""))), path


def labels(folder: Path, count: int, rng: random.Random) -> Tally:
    """Sweeps, classes and policies have names that break pages, spreadsheets, LaTeX or XML: the report is intact."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "report"))
    import matplotlib.figure  # noqa: F401  before memory is limited

    import bench.report  # noqa: F401

    return _try_all({"labels": _labels}, folder, count, rng, ends_well=True)
