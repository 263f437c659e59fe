"""The wire format: golden bytes, the safetensors library as its oracle, and bodies that must be refused."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from drawpoint.errors import ResponseDamaged
from drawpoint.format.payload import MAX_HEADER_BYTES, TensorSpec, allocate, content_digest, measure, parse

SMALL = [
    TensorSpec("surface_pressure", "float16", (3,)),
    TensorSpec("surface_position", "float32", (1, 3)),
    TensorSpec("area", "float64", (1,)),
]
SMALL_METADATA = {"store": "made", "draw_version": "1"}
SMALL_HEADER = (
    b'{"__metadata__":{"draw_version":"1","store":"made"},'
    b'"area":{"data_offsets":[0,8],"dtype":"F64","shape":[1]},'
    b'"surface_position":{"data_offsets":[8,20],"dtype":"F32","shape":[1,3]},'
    b'"surface_pressure":{"data_offsets":[20,26],"dtype":"F16","shape":[3]}}'
)

names = st.text(min_size=1, max_size=20).filter(lambda name: name != "__metadata__")
specs = st.lists(
    st.builds(
        TensorSpec,
        names,
        st.sampled_from(["float16", "float32", "float64"]),
        st.lists(st.integers(0, 5), max_size=3).map(tuple),
    ),
    max_size=6,
    unique_by=lambda spec: spec.name,
)
metadatas = st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=4)


def small_body() -> bytearray:
    payload = allocate(SMALL, SMALL_METADATA)
    payload.tensors["surface_pressure"][:] = [1, 2, 3]
    payload.tensors["surface_position"][:] = [[4, 5, 6]]
    payload.tensors["area"][:] = 7
    return payload.body


def body_of(header: Any, data: bytes = b"") -> bytearray:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return bytearray(len(text).to_bytes(8, "little") + text + data)


def tensor(shape: Any, begin: Any, end: Any, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_the_bytes_of_a_small_body_are_golden() -> None:
    padding = b" " * (-len(SMALL_HEADER) % 8)
    data = np.array([7], "<f8").tobytes() + np.array([4, 5, 6], "<f4").tobytes() + np.array([1, 2, 3], "<f2").tobytes()
    expected = (len(SMALL_HEADER) + len(padding)).to_bytes(8, "little") + SMALL_HEADER + padding + data
    assert bytes(small_body()) == expected


@settings(max_examples=100)
@given(specs, metadatas)
def test_the_safetensors_library_reads_the_same_tensors_and_metadata(
    tmp_path_factory: pytest.TempPathFactory, tensors: list[TensorSpec], metadata: dict[str, str]
) -> None:
    payload = allocate(tensors, metadata)
    rng = np.random.default_rng(0)
    for view in payload.tensors.values():
        view[...] = rng.standard_normal(view.shape)
    ours, read_metadata = parse(payload.body)
    theirs = safetensors.numpy.load(bytes(payload.body))
    assert read_metadata == metadata
    assert ours.keys() == theirs.keys() == {spec.name for spec in tensors}
    for spec in tensors:
        assert ours[spec.name].shape == theirs[spec.name].shape == spec.shape
        assert ours[spec.name].dtype == theirs[spec.name].dtype == np.dtype(spec.dtype)
        assert ours[spec.name].tobytes() == theirs[spec.name].tobytes()
    path = tmp_path_factory.getbasetemp() / "body.safetensors"
    path.write_bytes(payload.body)
    with safetensors.safe_open(path, "np") as file:
        assert (file.metadata() or {}) == metadata


@settings(max_examples=50)
@given(specs, metadatas)
def test_what_the_library_writes_parses_here(tensors: list[TensorSpec], metadata: dict[str, str]) -> None:
    rng = np.random.default_rng(3)
    arrays = {spec.name: rng.standard_normal(spec.shape).astype(spec.dtype) for spec in tensors}
    body = safetensors.numpy.save(arrays, metadata or None)  # {} makes it write no JSON
    parsed, read_metadata = parse(bytearray(body))
    assert read_metadata == metadata
    assert parsed.keys() == arrays.keys()
    for name, array in arrays.items():
        assert parsed[name].shape == array.shape
        assert parsed[name].tobytes() == array.tobytes()


@settings(max_examples=50)
@given(specs, metadatas)
def test_a_body_is_as_long_as_was_measured_and_every_tensor_is_aligned(
    tensors: list[TensorSpec], metadata: dict[str, str]
) -> None:
    body = allocate(tensors, metadata).body
    start = 8 + int.from_bytes(body[:8], "little")
    assert measure(tensors, metadata) == len(body) == start + sum(spec.nbytes for spec in tensors)
    assert start % 8 == 0
    header = json.loads(body[8:start])
    for spec in tensors:
        assert header[spec.name]["data_offsets"][0] % np.dtype(spec.dtype).itemsize == 0


def test_nothing_is_copied_on_either_side() -> None:
    payload = allocate(SMALL, SMALL_METADATA)
    whole = np.frombuffer(payload.body, np.uint8)
    parsed, _ = parse(payload.body)
    for name, view in payload.tensors.items():
        assert np.shares_memory(view, whole)
        view[...] = 9
        assert np.shares_memory(parsed[name], whole)
        assert (parsed[name] == 9).all()
        assert parsed[name].flags.writeable


HOSTILE: dict[str, bytearray] = {
    "nothing": bytearray(),
    "no header at all": body_of(b""),
    "a header of the longest length there is": bytearray(b"\xff" * 8 + b"{}"),
    "not UTF-8": body_of(b'{"\xff":1}'),
    "no JSON": body_of(b"{"),
    "nested too deep": body_of(b"[" * 100_000),
    "a list": body_of([]),
    "a number of 5,000 digits": body_of(b'{"a":' + b"9" * 5000 + b"}"),
    "a tensor that is no object": body_of({"a": [1]}),
    "a tensor without a shape": body_of({"a": {"dtype": "F32", "data_offsets": [0, 4]}}, bytes(4)),
    "a tensor without offsets": body_of({"a": {"dtype": "F32", "shape": [1]}}, bytes(4)),
    "three offsets": body_of({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]}}, bytes(4)),
    "an unknown dtype": body_of({"a": tensor([1], 0, 4, "I32")}, bytes(4)),
    "a dtype that is a list": body_of({"a": tensor([1], 0, 4, ["F32"])}, bytes(4)),
    "a shape of bools": body_of({"a": tensor([True], 0, 4)}, bytes(4)),
    "a shape of NaN": body_of({"a": tensor([math.nan], 0, 4)}, bytes(4)),
    "a negative shape": body_of({"a": tensor([-1, -1], 0, 4)}, bytes(4)),
    "a shape that overflows": body_of({"a": tensor([2**32, 2**32], 0, 0)}),
    "a shape of nothing that overflows": body_of({"a": tensor([0, 2**62, 2**62], 0, 0)}),
    "a shape of 65 dimensions": body_of({"a": tensor([1] * 65, 0, 4)}, bytes(4)),
    "a shape of a million dimensions": body_of({"a": tensor([2] * 1_000_000, 0, 4)}, bytes(4)),
    "bools for offsets": body_of({"a": tensor([], False, 4)}, bytes(4)),
    "offsets into the header": body_of({"a": tensor([1], -4, 0)}),
    "offsets beyond the body": body_of({"a": tensor([1], 0, 4)}),
    "offsets beyond any body": body_of({"a": tensor([1], 2**70, 2**70 + 4)}, bytes(4)),
    "offsets of another size": body_of({"a": tensor([1], 0, 8)}, bytes(8)),
    "overlapping tensors": body_of({"a": tensor([1], 0, 4), "b": tensor([1], 0, 4)}, bytes(8)),
    "tensors that overlap in part": body_of({"a": tensor([2], 0, 8), "b": tensor([1], 4, 8)}, bytes(12)),
    "a gap between two": body_of({"a": tensor([1], 0, 4), "b": tensor([1], 8, 12)}, bytes(12)),
    "bytes behind the last": body_of({"a": tensor([1], 0, 4)}, bytes(5)),
    "bytes without a tensor": body_of({}, bytes(1)),
    "a name twice": body_of(
        b'{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        bytes(4),
    ),
    "metadata of numbers": body_of({"__metadata__": {"seed": 5}}),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_damaged_body_is_refused_as_such(what: str) -> None:
    with pytest.raises(ResponseDamaged, match="response") as caught:
        parse(HOSTILE[what])
    assert len(str(caught.value)) < 400


def test_every_truncation_of_a_body_is_refused() -> None:
    body = small_body()
    for length in range(len(body)):
        with pytest.raises(ResponseDamaged):
            parse(body[:length])


@settings(max_examples=200)
@given(st.binary(max_size=60), st.binary(max_size=40), st.integers(0, 8 + len(SMALL_HEADER) - 1), st.integers(0, 255))
def test_any_bytes_give_tensors_or_response_damaged(header: bytes, data: bytes, place: int, value: int) -> None:
    changed = small_body()
    changed[place] = value
    for body in (bytearray(header + data), body_of(header, data), changed):
        with contextlib.suppress(ResponseDamaged):
            assert sum(array.nbytes for array in parse(body)[0].values()) <= len(body)


def test_the_length_of_a_header_is_capped_as_in_the_library() -> None:
    body = bytearray(MAX_HEADER_BYTES + 1 + 8)
    body[:8] = (MAX_HEADER_BYTES + 1).to_bytes(8, "little")
    with pytest.raises(ResponseDamaged, match="claims"):
        parse(body)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**70) | st.floats() | st.sampled_from(["F32", "F16", "", "a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=5,
)


@settings(max_examples=250)
@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "__metadata__"]),
        json_values
        | st.fixed_dictionaries(
            {
                "dtype": st.sampled_from(["F16", "F32", "F64"]) | json_values,
                "shape": st.lists(st.integers(-1, 3), max_size=2) | json_values,
                "data_offsets": st.lists(st.integers(-4, 16), min_size=2, max_size=2) | json_values,
            }
        ),
        max_size=3,
    ),
    st.integers(0, 16),
)
def test_any_header_gives_disjoint_tensors_or_response_damaged(header: dict[str, Any], length: int) -> None:
    body = body_of(header, bytes(length))
    try:
        tensors, metadata = parse(body)
    except ResponseDamaged:
        return
    assert all(isinstance(value, str) for value in metadata.values())
    counted = np.zeros(len(body), np.int64)
    for array in tensors.values():
        start = array.ctypes.data - np.frombuffer(body, np.uint8).ctypes.data
        counted[start : start + array.nbytes] += 1
    begin = len(body) - length
    assert (counted[begin:] == 1).all()
    assert (counted[:begin] == 0).all()


def test_the_digest_is_a_content_digest_of_rfc_9530() -> None:
    # The check value of CRC-32C over "123456789" is 0xE3069283 (RFC 3720, appendix B.4, and the CRC catalogue).
    assert content_digest(b"123456789") == "crc32c=:4waSgw==:"
    assert content_digest(bytearray(32)) == "crc32c=:ipE2qg==:"  # RFC 3720 B.4: 32 bytes of zeros, 0x8A9136AA
    assert content_digest(b"") == "crc32c=:AAAAAA==:"
