import hashlib
import os

from bench.files import remembered_sha256


def test_a_file_that_changed_is_read_again(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"first")
    assert remembered_sha256(path) == hashlib.sha256(b"first").hexdigest()
    before = path.stat().st_mtime_ns
    for content, later in ((b"again", 1), (b"longer", 1)):  # the same size, then the same time
        path.write_bytes(content)
        os.utime(path, ns=(before + later, before + later))
        assert remembered_sha256(path) == hashlib.sha256(content).hexdigest()
    (tmp_path / "b.bin").write_bytes(b"second")
    os.utime(tmp_path / "b.bin", ns=(before + 1, before + 1))
    assert remembered_sha256(tmp_path / "b.bin") == hashlib.sha256(b"second").hexdigest()
