"""Errors are facts: their tree, their sentence, what they are about, and their way through processes."""

from __future__ import annotations

import copy
import inspect
import itertools
import pickle
from typing import Any

import pytest
from tblib.pickling_support import pickle_exception

from drawpoint import errors

CLASSES = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, errors.DrawpointError)]


def test_every_error_is_in_the_tree_of_the_docstring_with_the_builtins_that_it_resembles() -> None:
    for each in CLASSES:
        builtins = [base.__name__ for base in each.__bases__ if not issubclass(base, errors.DrawpointError)]
        line = f"+-- {each.__name__}" + (f" ({', '.join(builtins)})" if builtins else "")
        assert each is errors.DrawpointError or line in (errors.__doc__ or "")


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_keeps_its_sentence_and_facts_through_pickle_and_copy(kind: type[errors.DrawpointError]) -> None:
    error = kind("The sentence.", store="s", sample="param0/run", field="f", chunk=3)
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(other) is kind
        assert str(other) == "The sentence."
        assert (other.store, other.sample, other.field, other.chunk) == ("s", "param0/run", "f", 3)
    assert kind("x").sample is None


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_comes_from_the_workers_of_dask_as_it_is(kind: type[errors.DrawpointError]) -> None:
    error = kind("The sentence.", store="s", sample="param0/run")
    make, facts, *state = pickle_exception(error)  # what distributed has pickle do
    other = make(*facts)
    other.__dict__.update(*state)
    assert (type(other), str(other), other.store, other.sample) == (kind, "The sentence.", "s", "param0/run")


def test_an_unknown_name_is_told_near_names() -> None:
    known = [f"param{number % 7}/{number:08x}" for number in range(2000)]
    error = errors.SampleNotFound.among("sample", known[1234][:-1] + "g", known, where="store 'made'", sample="s")
    assert known[1234] in error.near
    assert str(error).startswith(f"store 'made' has no sample '{known[1234][:-1]}g'; near names: ")
    assert pickle.loads(pickle.dumps(error)).near == error.near
    assert known[77] in errors.UnknownName.among("sample", "q" + known[77][1:], known, where="it").near
    number: Any = 5
    assert "has no sample '5'" in str(errors.UnknownName.among("sample", number, ["6"], where="it"))


def test_a_name_like_none_is_told_some_of_what_there_is() -> None:
    def sentence(known: list[str]) -> str:
        return str(errors.UnknownField.among("field", "zz", known, where="it"))

    assert sentence([]) == "it has no field 'zz'; there is: none."
    assert sentence([*"abcdefghijk"]) == "it has no field 'zz'; there is: a, b, c, d, e, f, g, h, ...."


def test_the_search_for_near_names_is_bounded_and_compares_the_ends_of_long_ones() -> None:
    endless = (f"run_{number}" for number in itertools.count())
    error = errors.UnknownName.among("sample", "run_4x" + "y" * 100_000, endless, where="it")
    assert next(endless) == f"run_{errors.NEAR_NAMES_SEARCHED}"
    assert len(str(error)) < 500
    known = [f"{'x' * 160}/{number:06d}" for number in range(500)]
    assert errors.UnknownName.among("sample", known[477][:-3] + "z77", known, where="it").near[0] == known[477]


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.SampleNotFound, KeyError),
        (errors.StoreNotFound, FileNotFoundError),
        (errors.UnknownField, ValueError),
        (errors.ChunkDamaged, OSError),
        (errors.DeadlineExceeded, TimeoutError),
    ],
)
def test_errors_are_caught_as_the_builtin_they_resemble(
    kind: type[errors.DrawpointError], builtin: type[Exception]
) -> None:
    with pytest.raises(builtin, match=r"^The sentence\.$"):  # KeyError alone would show quotes
        raise kind("The sentence.")
