"""Seeds: every random draw of the benchmark follows from (run seed, generation, stage, index) by `derive_seed`.

Seeds are hashes of these four values and not draws from one long stream. This makes a result independent of the batch
size, the number of devices and interruptions: image 731 of generation 2 has the same noise whenever and wherever it is
sampled.
"""

import hashlib


def derive_seed(run_seed: int, generation: int, stage: str, index: int = 0) -> int:
    """Return the seed of one draw. Equal arguments give equal seeds; any other argument gives an unrelated one.

    A seed has 63 bits, so that it fits both a signed 64-bit integer column and `torch.Generator.manual_seed`.

    Args:
        run_seed: The seed of the chain.
        generation: The number of the generation; 0 is the one that trains on real images only.
        stage: The purpose of the draw, such as "train".
        index: The number of the draw within the stage, such as the number of an image.
    """
    text = f"{run_seed}/{generation}/{stage}/{index}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1
