"""Every random draw of the benchmark comes from (run seed, generation, stage, index), through `derive_seed`.

Deriving a seed by hashing, instead of drawing it from one long stream, is what makes a result independent of batch
size, of device count and of interruptions: image 731 of generation 2 has the same noise whenever and wherever it is
made.
"""

import hashlib


def derive_seed(run_seed: int, generation: int, stage: str, index: int = 0) -> int:
    """A 63-bit seed for one draw. Equal arguments give equal seeds; any other argument gives an unrelated one.

    63 bits, so that it fits a signed 64-bit integer column and `torch.Generator.manual_seed` alike.
    """
    text = f"{run_seed}/{generation}/{stage}/{index}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1
