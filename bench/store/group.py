"""The store of a chain that runs in several processes: the first one uses the store, and all of them produce."""

from pathlib import Path
from typing import Any

from bench.errors import BenchError, StoreError
from bench.machine import distributed
from bench.store import result_files
from bench.store.stage_files import REQUIRED
from bench.store.store import Produce, Result, Store


def open_store(root: Path, chain: str = "") -> Store:
    """Return the store under `root` for the stages of a chain, which one process runs or several run together."""
    store = GroupStore if distributed.world_size() > 1 else Store
    return store(root, required=REQUIRED, user=chain)


class GroupStore(Store):
    """A store for several processes that run one chain.

    Every process must call `make` with the same spec. Only the files of the first process are published; the others
    write theirs into a directory that is removed afterwards. All share one `work` directory.
    """

    def make(self, stage: str, spec: dict[str, Any], produce: Produce) -> Result:
        """Return the result of a spec, as `Store.make` does; the same result in every process."""
        return self._lead(stage, spec, produce) if distributed.is_first() else self._follow(stage, produce)

    def _lead(self, stage: str, spec: dict[str, Any], produce: Produce) -> Result:
        def produce_together(out: Path, work: Path) -> dict[str, Any]:
            distributed.broadcast(("produce", (out, work)))
            return produce(out, work)

        try:
            result = super().make(stage, spec, produce_together)
        except Exception as error:
            distributed.broadcast(("failed", f"{type(error).__name__}: {error}"))
            raise
        distributed.broadcast(("done", result))
        return result

    def _follow(self, stage: str, produce: Produce) -> Result:
        message, value = distributed.broadcast()
        while message == "produce":  # twice, if the first process lost its lease
            out, work = value
            scratch = result_files.make_directory(out.with_name(f"{out.name}-{distributed.rank()}"))
            try:
                produce(scratch, work)
            except BenchError:
                pass  # the first process raises the same error and reports it
            finally:
                result_files.remove(scratch)
            message, value = distributed.broadcast()
        if message == "failed":
            raise StoreError(f"the first process could not produce {stage}: {value}")
        result: Result = value
        return result
