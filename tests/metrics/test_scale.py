"""The memory that scores need at the sizes that papers use, and their agreement across devices."""

import subprocess
import sys

import device_tests
import numpy as np
import pytest
from scoring import score

from bench.config import MetricsConfig

MEASURE = """
import resource, sys
import numpy as np
from bench.metrics.shared.precision_recall import manifold_scores

n, d = int(sys.argv[1]), 2048
rng = np.random.default_rng(0)
a, b = (rng.standard_normal((n, d), dtype=np.float32) for _ in range(2))
manifold_scores(a[:50], b[:50], 3)  # loads libraries and starts thread pools
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
manifold_scores(a, b, 3)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def extra_mebibytes(n: int) -> float:
    return float(subprocess.run([sys.executable, "-c", MEASURE, str(n)], capture_output=True, check=True).stdout)


@pytest.mark.slow
def test_manifold_scores_need_less_than_1_gib_beyond_their_inputs():
    """Check the memory beyond the inputs. It grows by their copies in bf16 (float32 if the hardware has no bf16), and a
    few numbers per point."""
    two, three = extra_mebibytes(8000), extra_mebibytes(12000)
    print(f"beyond the inputs: {two:.0f} MiB at N = 8000, {three:.0f} MiB at N = 12000")
    assert three < 1.5 * two + 50 and three < 1024


@device_tests.on_device
@pytest.mark.parametrize("n", [700, 2500])  # of distances, one block and several
def test_cuda_agrees_with_the_cpu(n):
    rng = np.random.default_rng(0)
    a, b = (rng.gamma(2, s, (n, 96)).astype(np.float32) for s in (1, 1.1))
    config = MetricsConfig(num_images=n, options={"kernel": {"num_subsets": 10, "subset_size": 100}})
    on_cpu, on_cuda = (score(a, b, config, training=b[:300], device=device) for device in ("cpu", device_tests.KIND))
    assert [row["metric"] for row in on_cpu] == [row["metric"] for row in on_cuda]
    for x, y in zip(on_cpu, on_cuda, strict=True):
        assert x["value"] == pytest.approx(y["value"], rel=1e-6), x["metric"]
