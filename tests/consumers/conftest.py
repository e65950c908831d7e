"""The SDK, unpacked once, and the sample that every consumer embeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from build.tree.workspace import host_platform
from tests.consumers.sample import Sample, model_folder, unpacked_sdk


@pytest.fixture(scope="session")
def sdk() -> Path:
    return unpacked_sdk(host_platform())


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return Sample(model=model_folder(), work=tmp_path_factory.mktemp("sample"))
