"""The store of stage results. Each is stored under the hash of its spec, published atomically, and verified on use.

    <root>/<stage>/<hash[:2]>/<hash>/     the files of one finished result, with spec.json and manifest.json
    <root>/work/<stage>/<hash>.<token>/   checkpoints of a stage that was started and is not finished
    <root>/locks/<stage>/<hash>.lock      the lock file of the process that is producing the result
    <root>/tmp/<stage>/<hash>.<token>/    results being written
    <root>/damaged/<stage>/<hash>.<token> results that failed their checksums, kept for inspection until pruned

`python -m bench.store` lists, explains, sizes, verifies and prunes results.
"""

from bench.store.specs import spec_hash
from bench.store.store import Result, Store

__all__ = ["Result", "Store", "spec_hash"]
