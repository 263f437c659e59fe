"""What `import drawpoint` offers is decided, not drifted into."""

from __future__ import annotations

import pytest

import drawpoint


def test_the_public_names_are_pinned() -> None:
    assert drawpoint.__all__ == [
        "ArrayLayout",
        "Connection",
        "DomainLayout",
        "DomainSample",
        "Estimate",
        "LoaderReport",
        "Normaliser",
        "Part",
        "RemoteReader",
        "ResumableSampler",
        "SampleDataset",
        "SampleEntry",
        "SampleLoader",
        "StoreManifest",
        "__version__",
        "connect",
        "errors",
        "estimate",
        "iter_parts",
        "prefetch",
        "save",
    ]


@pytest.mark.parametrize("name", drawpoint.__all__)
def test_each_of_them_is_there_and_listed(name: str) -> None:
    assert getattr(drawpoint, name) is not None
    assert name in dir(drawpoint)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="conect"):
        drawpoint.conect  # noqa: B018  # type: ignore[attr-defined]
