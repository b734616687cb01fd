"""POSIX access lists, as the kernel takes them: no test needs setfacl(1)."""

import os
import struct
from pathlib import Path

import pytest


def allow(path: Path, *entries: tuple[int, int, int]) -> None:
    """Give a path an access list of its mode and more entries: (tag, permissions, uid or gid) each, as the kernel numbers them."""
    mode = path.stat().st_mode
    every = [(1, mode >> 6 & 7, -1), (4, mode >> 3 & 7, -1), *entries, (16, 7, -1), (32, mode & 7, -1)]
    packed = [struct.pack("<HHi", *entry) for entry in sorted(every)]
    try:
        os.setxattr(path, "system.posix_acl_access", struct.pack("<I", 2) + b"".join(packed))
    except OSError as refusal:
        pytest.skip(f"this file system has no access lists: {refusal.strerror}")
