"""The sample study's page, written once for all tests of the report."""

from pathlib import Path

import pytest
from sample_study import write


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its path; treat the folder as read-only."""
    return write(tmp_path_factory.mktemp("study"))
