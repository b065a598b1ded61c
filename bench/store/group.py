"""The store of a chain that runs in several processes: the first one asks the store, all of them produce."""

from pathlib import Path
from typing import Any

from bench.errors import BenchError, StoreError
from bench.machine import distributed
from bench.store import result_files
from bench.store.store import Produce, Result, Store


def open_store(root: Path) -> Store:
    """The store under `root`, for this process alone or together with those that it was started with."""
    return GroupStore(root) if distributed.world_size() > 1 else Store(root)


class GroupStore(Store):
    """`make` must be called by every process with the same spec. The files that are published are the first's; the
    others write theirs into a directory that is thrown away. `work` is common to all."""

    def make(self, stage: str, spec: dict[str, Any], produce: Produce) -> Result:
        return self._lead(stage, spec, produce) if distributed.is_first() else self._follow(stage, produce)

    def _lead(self, stage: str, spec: dict[str, Any], produce: Produce) -> Result:
        def together(out: Path, work: Path) -> dict[str, Any]:
            distributed.from_first(("produce", (out, work)))
            return produce(out, work)

        try:
            result = super().make(stage, spec, together)
        except Exception as error:
            distributed.from_first(("failed", f"{type(error).__name__}: {error}"))
            raise
        distributed.from_first(("done", result))
        return result

    def _follow(self, stage: str, produce: Produce) -> Result:
        said, value = distributed.from_first()
        if said == "produce":
            out, work = value
            scratch = result_files.make_directory(out.with_name(f"{out.name}-{distributed.rank()}"))
            try:
                produce(scratch, work)
            except BenchError:
                pass  # the first process meets the same error, and says so
            finally:
                result_files.remove(scratch)
            said, value = distributed.from_first()
        if said == "failed":
            raise StoreError(f"the first process could not make {stage}: {value}")
        result: Result = value
        return result
