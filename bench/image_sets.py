"""Reads sets of images outside any chain: arrays and tensors, folders of pictures, NumPy files and stored pools."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bench.errors import ConfigError, DataError
from bench.kinds import check_images

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A set of N images.

    Attributes:
        images: uint8 (N, 3, H, H).
        labels: Attribute -> class indices, int64 (N,); -1 means "not labelled".
        names: Attribute -> names of its classes.
    """

    images: np.ndarray
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)


Images: TypeAlias = "str | Path | np.ndarray | torch.Tensor | ImageSet"
"""What `read_set` accepts: the path of a set of images, an array or a tensor of images, or an `ImageSet`."""


def read_set(images: Images, resolution: int | None = None) -> ImageSet:
    """Return a set of images from any of the forms of `Images`. resolution: See `read_images`.

    Raises `DataError` for an array that does not hold images, uint8 (N, 3, H, H) or (N, H, H, 3), and for any other
    object.
    """
    if isinstance(images, str | Path):
        return read_images(str(images), resolution)
    if isinstance(images, ImageSet):
        return images
    array: Any = images.detach().cpu().numpy() if hasattr(images, "detach") else images
    if not isinstance(array, np.ndarray):
        raise DataError(f"a {type(images).__name__} is not a set of images: give a path, an array or a tensor")
    return ImageSet(_channels_first(array, f"a {type(images).__name__} of images"))


def where(images: Images) -> str:
    """Return the name of a set in a result: its path, or its type and shape."""
    if isinstance(images, str | Path):
        return str(images)
    shape = images.images.shape if isinstance(images, ImageSet) else tuple(images.shape)
    return f"{type(images).__name__} {shape}"


def read_images(path: str, resolution: int | None = None) -> ImageSet:
    """Return the images at `path`: a folder of pictures, an .npy or .npz file, or a stored pool.

    If `resolution` is given, pictures of a folder are cropped to squares and resized to it, in pixels; arrays and pools
    are never resized. Raises `DataError` if the path is missing, unreadable or of another format, and for a folder
    whose pictures are not squares of one size if no `resolution` is given.
    """
    if resolution is not None and resolution < 1:
        raise ConfigError("resolution", resolution, "must be at least 1")
    place = Path(path).expanduser()
    if not place.exists():
        raise DataError(f"{path} does not exist")
    if place.is_dir():
        return _pool(place) if (place / "pool.json").exists() else _folder(path, resolution)
    if place.suffix in (".npy", ".npz"):
        return _array(place)
    raise DataError(f"{path}: neither a folder nor an .npy or .npz file")


def _pool(place: Path) -> ImageSet:
    from bench.kinds import IMAGES
    from bench.pool import Pool

    pool = Pool.load(place)
    if pool.kind is not IMAGES:
        raise DataError(f"{place} is a pool of {pool.kind.name}, expected images")
    return ImageSet(pool.items, pool.records.labels, pool.label_names)


def _folder(path: str, resolution: int | None) -> ImageSet:
    from PIL import Image

    from bench.datasets.folder import Config, find_pictures, open_source
    from bench.datasets.shared.pictures import FORMATS

    config = Config(path=path)
    _, paths = find_pictures(config)
    if resolution is None:
        sizes: dict[tuple[int, int], Path] = {}
        for picture in paths:
            try:
                with Image.open(picture, formats=FORMATS) as opened:
                    sizes.setdefault(opened.size, picture)
            except OSError as error:
                raise DataError(f"{picture} is not a readable picture: {error}") from error
        (width, height), *others = sizes
        if others or width != height:
            examples = ", ".join(f"{w} x {h} ({p.name})" for (w, h), p in list(sizes.items())[:3])
            smallest = min(min(size) for size in sizes)
            raise DataError(
                f"{path}: pictures are not squares of one size: {examples}; give resolution={smallest}, for example"
            )
        resolution = width
    source = open_source(replace(config, resolution=resolution))
    return ImageSet(source.read(np.arange(len(source)))[0], source.labels, source.label_names)


def _array(place: Path) -> ImageSet:
    from bench.datasets.shared.npz_archive import NpzArchive, read_labels

    if place.suffix == ".npz":
        archive = NpzArchive(place)
        if not archive.headers:
            raise DataError(f"{place} cannot be read as an array of images: it has no arrays")
        images = archive.load("images" if "images" in archive.headers else next(iter(archive.headers)))
        one_each = "labels" in archive.headers and archive.headers["labels"].shape == images.shape[:1]
        labels, names = read_labels(archive) if one_each else ({}, {})
    else:
        labels, names = {}, {}
        try:
            images = np.load(place, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{place} cannot be read as an array of images: {error}") from error
    return ImageSet(_channels_first(images, str(place)), labels, names)


def _channels_first(images: np.ndarray, name: str) -> np.ndarray:
    """Return images as (N, 3, H, H). name: The name of the set in messages. Raises `DataError` for any other array."""
    if images.ndim == 4 and images.shape[-1] == 3 and images.shape[1] != 3:
        images = images.transpose(0, 3, 1, 2)
    try:
        check_images(images)
    except DataError as error:
        raise DataError(f"{name}: {error}, or (N, H, H, 3)") from error
    return images


def check_resolutions(sets: Mapping[str, ImageSet]) -> None:
    """Raise `DataError` if sets differ in resolution, because a feature extractor would enlarge, and so blur, one set
    more than another."""
    sides = {name: images.images.shape[-1] for name, images in sets.items()}
    if len(set(sides.values())) > 1:
        listing = ", ".join(f"{name} {side} px" for name, side in sides.items())
        raise DataError(
            f"the sets differ in resolution: {listing}; give resolution={min(sides.values())}, which resizes the "
            "pictures of folders, or resize arrays and pools beforehand"
        )
