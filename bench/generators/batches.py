"""The training images, and what each step draws from them.

Where the images are kept never changes a draw. What fits is kept resident: on the device, or on the CPU simply where
it is, in memory or memory-mapped. What does not is streamed: a thread gathers the rows of the next few steps while the
device computes, and copies them from pinned memory on a stream of its own.
"""

import logging
import math
from abc import ABC, abstractmethod
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import numpy as np
import torch

from bench.config import TrainingConfig
from bench.pool import Images
from bench.runtime import free_memory
from bench.seeds import derive_seed

log = logging.getLogger(__name__)

RESIDENT_SHARE = 0.25
"""Of the device's free memory (on the CPU: of the available memory) that resident images may take; the rest is for
activations and moments, which are not there yet when this is decided."""

AHEAD = 3
"""Steps whose images are on their way while one is computed."""

_BLOCK = 4096

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""(x0, eps, t): float32 (B, 3, H, W) in [-1, 1], normals of that shape, int64 timesteps (B,)."""


class Batches:
    """What step s trains on. data: "resident" or "streamed". To be left (`with`) when the training ends: that ends the
    thread of streamed images. What goes wrong in the thread is raised by `draw`."""

    def __init__(self, images: Images, training: TrainingConfig, seed: int, device: torch.device) -> None:
        self.training = training
        self.seed = seed
        self.generator = torch.Generator(device)
        size, free = math.prod(images.shape), free_memory(device)
        self.data = "resident" if size <= RESIDENT_SHARE * free else "streamed"
        self.source: Source
        if self.data == "streamed":
            self.source = Streamed(images, training, seed, device)
        elif device.type == "cpu":
            self.source = InPlace(images, training, seed)
        else:
            self.source = OnDevice(images, training, seed, device)
        log.info("training images: %.1f MB, with %.0f MB free on %s: %s", size / 1e6, free / 1e6, device, self.data)

    def draw(self, step: int, num_timesteps: int) -> Batch:
        """What this step trains on.

        The timesteps of a batch are evenly spread from a random start (Kingma et al. 2021, appendix I.1): each is
        uniform, and together they vary less, which is worth most in small batches.
        """
        x0 = self.source.pixels(step).float() / 127.5 - 1.0
        random = self.generator.manual_seed(derive_seed(self.seed, 0, "step", step))
        if self.training.horizontal_flip:
            flip = torch.rand(len(x0), generator=random, device=x0.device) < 0.5
            x0 = torch.where(flip[:, None, None, None], x0.flip(-1), x0)
        eps = torch.randn(x0.shape, generator=random, device=x0.device)
        offset = torch.rand((), generator=random, device=x0.device)
        spread = (torch.arange(len(x0), device=x0.device) + offset) / len(x0)
        t = (spread * num_timesteps).long().clamp(max=num_timesteps - 1)
        return x0, eps, t

    def __enter__(self) -> "Batches":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.source.close()


class Order:
    """Which rows a step trains on: every image once per epoch; a batch may straddle two.

    An epoch's order is drawn on the device. on_host: it is then brought to the host, which waits for that once an
    epoch; on an event, so that no other stream is waited for.
    """

    def __init__(
        self, num_images: int, training: TrainingConfig, seed: int, device: torch.device, on_host: bool = False
    ) -> None:
        self.num_images = num_images
        self.batch_size = training.batch_size
        self.seed = seed
        self.generator = torch.Generator(device)
        self.to_host = on_host and device.type == "cuda"
        self.epochs: dict[int, torch.Tensor] = {}

    def rows(self, step: int) -> torch.Tensor:
        """Rows of the batch, int64 (B,)."""
        position, end = step * self.batch_size, (step + 1) * self.batch_size
        pieces = []
        while position < end:
            epoch, first = divmod(position, self.num_images)
            piece = self.epoch(epoch)[first : first + end - position]
            pieces.append(piece)
            position += len(piece)
        return torch.cat(pieces)

    def epoch(self, epoch: int) -> torch.Tensor:
        if epoch not in self.epochs:
            random = self.generator.manual_seed(derive_seed(self.seed, 0, "epoch", epoch))
            order = torch.randperm(self.num_images, generator=random, device=random.device)
            if self.to_host:
                there, arrived = order, torch.cuda.Event()
                order = torch.empty_like(there, device="cpu", pin_memory=True).copy_(there, non_blocking=True)
                arrived.record()
                arrived.synchronize()
            self.epochs = {epoch: order}
        return self.epochs[epoch]


class Source(ABC):
    """Where the images of a step come from."""

    @abstractmethod
    def pixels(self, step: int) -> torch.Tensor:
        """uint8 (B, 3, H, W) on the device."""

    def close(self) -> None:  # noqa: B027  # most have nothing to end
        """Ends what runs beside the training."""


class OnDevice(Source):
    """All images in the device's memory."""

    def __init__(self, images: Images, training: TrainingConfig, seed: int, device: torch.device) -> None:
        self.order = Order(len(images), training, seed, device)
        self.images = torch.empty(images.shape, dtype=torch.uint8, device=device)
        for start in range(0, len(images), _BLOCK):
            part = self.images[start : start + _BLOCK]
            part.copy_(torch.from_numpy(images[np.arange(start, start + len(part))]))

    def pixels(self, step: int) -> torch.Tensor:
        return self.images[self.order.rows(step)]


class InPlace(Source):
    """Images that the CPU reads where they are."""

    def __init__(self, images: Images, training: TrainingConfig, seed: int) -> None:
        self.order = Order(len(images), training, seed, torch.device("cpu"))
        self.images = images

    def pixels(self, step: int) -> torch.Tensor:
        return torch.from_numpy(self.images[self.order.rows(step).numpy()])


class Streamed(Source):
    """Images that a thread gathers, `AHEAD` steps before they are needed."""

    def __init__(self, images: Images, training: TrainingConfig, seed: int, device: torch.device) -> None:
        self.images = images
        self.num_steps = training.num_steps
        self.device = device
        self.order = Order(len(images), training, seed, device, on_host=True)  # used by the thread alone
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="training-images")
        self.coming: dict[int, Future[tuple[torch.Tensor, torch.cuda.Event | None]]] = {}

    def pixels(self, step: int) -> torch.Tensor:
        for wanted in (step, *range(step + 1, min(step + 1 + AHEAD, self.num_steps))):
            if wanted not in self.coming:
                self.coming[wanted] = self.thread.submit(self.fetch, wanted)
        pixels, copied = self.coming.pop(step).result()
        if copied is not None:
            stream = torch.cuda.current_stream(self.device)
            stream.wait_event(copied)  # the stream waits, not this thread
            pixels.record_stream(stream)  # its memory is not given away before that stream has read it
        return pixels

    def fetch(self, step: int) -> tuple[torch.Tensor, torch.cuda.Event | None]:
        """In the thread: the images of a step, and the event of their arrival on the device."""
        with torch.cuda.stream(self.stream):  # None: whatever stream there is
            pixels = torch.from_numpy(self.images[self.order.rows(step).numpy()])
            if self.stream is None:
                return pixels, None
            pinned = pixels.pin_memory()  # torch keeps it until the copy has ended, then uses it again
            pixels = pinned.to(self.device, non_blocking=True)
            copied = torch.cuda.Event()
            copied.record(self.stream)
            return pixels, copied

    def close(self) -> None:
        self.thread.shutdown(wait=True, cancel_futures=True)
