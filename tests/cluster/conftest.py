from pathlib import Path

import pytest

from tests.fakeslurm.cluster import Cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path / "slurm")
