import os
import sys

import pytest

from ptycho.data import memory
from ptycho.data.memory import usable_memory

ALL = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.fixture
def unlimited(monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    return resource


def groups(folder, mine, **limits):
    (folder / "cgroup").write_text(mine)
    for name, limit in limits.items():
        path = folder / "fs" / name.replace("__", "/").replace("_d_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(limit)
    return usable_memory(folder / "fs", folder / "cgroup")


@pytest.mark.parametrize(
    ("mine", "limits", "expected"),
    [
        ("0::/\n", {}, ALL),
        ("0::/\n", {"memory_d_max": "max\n"}, ALL),
        ("0::/a/b\n", {"a__b__memory_d_max": "max\n", "a__memory_d_max": "1000000\n"}, 10**6),
        ("0::/not/mine\n", {"memory_d_max": "2000000\n"}, 2 * 10**6),
        (
            "5:cpu:/x\n4:memory:/job/1\n0::/\n",
            {"memory__job__memory_d_limit_in_bytes": "3000000\n", "cpu__x__memory_d_max": "1\n"},
            3 * 10**6,
        ),
        ("4:memory:/\n", {"memory__memory_d_limit_in_bytes": "9223372036854771712\n"}, ALL),
    ],
)
def test_limits_of_control_groups_count(tmp_path, unlimited, mine, limits, expected):
    assert groups(tmp_path, mine, **limits) == expected


def test_ulimit_counts(tmp_path, unlimited, monkeypatch):
    monkeypatch.setattr(unlimited, "getrlimit", lambda _: (10**7, 10**7))
    assert groups(tmp_path, "0::/\n", memory_d_max="20000000") == 10**7
    assert usable_memory(tmp_path / "nothing", tmp_path / "nowhere") == 10**7


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is asked")
def test_freed_memory_is_given_back(monkeypatch):
    if memory._trim() is None:
        pytest.skip("not the GNU C library")
    asked = []
    monkeypatch.setattr(memory, "_trim", lambda: asked.append)
    sizes = iter([50, 60, 200, 100, 100, 400, 90])
    monkeypatch.setattr(memory, "_resident", lambda: next(sizes, None))
    monkeypatch.setattr(memory, "_GATHERED", 100)
    monkeypatch.setattr(memory, "_PAUSE", 0.0)
    memory._watch()  # 200: grown by 150, and 100 after that; 400: by 300, and 90 after that
    assert asked == [0, 0]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is asked")
def test_a_thread_looks_after_memory_once():
    if memory._trim() is None:
        pytest.skip("not the GNU C library")
    memory.keep_tidy()
    one = memory._watcher(os.getpid())
    memory.keep_tidy()
    assert memory._watcher(os.getpid()) is one
    assert one.is_alive()
    assert one.daemon
