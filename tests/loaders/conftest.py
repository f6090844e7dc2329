"""The dataset that all loaders get, and a bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import s3fs

from tests.loaders.dataset import Dataset, make_dataset
from tests.object_storage import object_storage

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    return make_dataset()


@pytest.fixture
def bucket(storage: s3fs.S3FileSystem) -> Iterator[s3fs.S3FileSystem]:
    """S3 on this machine, with an empty bucket ``lake``."""
    storage.mkdir("lake")
    yield storage
    storage.rm("lake", recursive=True)


@pytest.fixture(scope="session")
def storage() -> Iterator[s3fs.S3FileSystem]:
    with object_storage() as url:
        yield s3fs.S3FileSystem(key="testing", secret="testing", endpoint_url=url, use_listings_cache=False)  # noqa: S106 - any will do
    s3fs.S3FileSystem.clear_instance_cache()
