"""The store of a chain that runs in several processes: the first one reads and publishes results, and all of them take
part in producing them."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.errors import BenchError, StoreError
from bench.machine import distributed
from bench.store import result_files
from bench.store.specs import spec_hash
from bench.store.stage_files import REQUIRED
from bench.store.store import Produce, Result, Store


def open_store(root: Path, chain: str = "") -> Store:
    """Return the store under `root` for the stages of a chain that runs in one process or in several together."""
    store = GroupStore if distributed.world_size() > 1 else Store
    return store(root, required=REQUIRED, user=chain)


class OutOfStep(Exception):
    """The first process reported on another result than the one that this process is producing.

    Producing a result may request others, so the first process may fail in an outer `make` while this process is still
    in a nested one. The error therefore propagates to the `make` of the reported result, which handles it.
    """

    def __init__(self, said: list[Any], key: str) -> None:
        super().__init__(f"the processes diverged: the first reports {said[:2]}, but this one is at {key}")
        self.said = said


class GroupStore(Store):
    """A store for several processes that run one chain.

    Every process must call `make` with the same spec. Only the files of the first process are published; the others
    write theirs into a directory that is removed afterwards. All share one `work` directory. While the first process
    waits for the lease of another job, or does work that only one process may do, the others wait without a time limit.
    """

    def make(self, stage: str, spec: dict[str, Any], produce: Produce) -> Result:
        """Return the result of a spec as `Store.make` does, the same one in every process."""
        key = f"{stage}/{spec_hash(stage, spec)}"
        return self._lead(key, stage, spec, produce) if distributed.is_first() else self._follow(key, produce)

    def _lead(self, key: str, stage: str, spec: dict[str, Any], produce: Produce) -> Result:
        def produce_together(out: Path, work: Path) -> dict[str, Any]:
            distributed.broadcast(["produce", key, [str(out), str(work)]])
            return produce(out, work)

        try:
            result = super().make(stage, spec, produce_together)
        except Exception as error:
            distributed.broadcast(["failed", key, f"{type(error).__name__}: {error}"])
            raise
        distributed.broadcast(["done", key, {**asdict(result), "path": str(result.path)}])
        return result

    def _follow(self, key: str, produce: Produce) -> Result:
        said = distributed.broadcast()
        while said[:2] == ["produce", key]:  # twice, if the first process lost its lease
            said = self._produce_beside(produce, *map(Path, said[2]))
        if said[:2] == ["failed", key]:
            raise StoreError(f"the first process could not produce {key.partition('/')[0]}: {said[2]}")
        if said[:2] == ["done", key]:
            return Result(**{**said[2], "path": Path(said[2]["path"])})
        raise OutOfStep(said, key)

    def _produce_beside(self, produce: Produce, out: Path, work: Path) -> list[Any]:
        """Produce files that are not published, and return the next message of the first process."""
        scratch = result_files.make_directory(out.with_name(f"{out.name}-{distributed.rank()}"))
        try:
            produce(scratch, work)
        except BenchError:
            pass  # the first process raises the same error and reports it
        except OutOfStep as elsewhere:
            return elsewhere.said
        finally:
            result_files.remove(scratch)
        said: list[Any] = distributed.broadcast()
        return said
