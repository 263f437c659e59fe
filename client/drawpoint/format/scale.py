"""Scales: what a field's values are divided by, an expression in the scalars of the sample.

The text is parsed to a tree, and the tree is walked: nothing of it is ever executed. Statistics keep such texts, and
whoever writes a store may put any text there.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

from drawpoint.errors import InvalidParameter, UnknownField, UnknownScalar

if TYPE_CHECKING:
    from drawpoint.format.manifest import StoreManifest

MOST_LETTERS = 200
"""Longer expressions are refused: it bounds how deep a tree can be."""

FLOAT32_RANGE = (2.0**-126, 2.0**127)
"""Least and greatest magnitude of a scale: tensors are float32, where others would make 0 or inf of values."""

_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: math.pow,  # of floats alone, so that its time is bounded, and never complex
}
_SIGNS: dict[type[ast.unaryop], Callable[[float], float]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
_ALLOWED = "numbers, names of scalars, + - * / ** and parentheses"


class Scale:
    """An expression such as `0.5 * rho_inf * U_inf**2`; its precedence is Python's.

    `text` is the expression as it was given, `names` the scalars in it. Expressions that differ in spaces alone are
    equal. Raises InvalidParameter for a text that is no expression of numbers, names, + - * / ** and parentheses.
    """

    def __init__(self, text: str) -> None:
        if not isinstance(text, str) or len(text) > MOST_LETTERS:
            raise _invalid(text, f"it is a text of at most {MOST_LETTERS} letters")
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            raise _invalid(text, f"it has {_ALLOWED}") from error
        self.text = text.strip()
        self.names = tuple(dict.fromkeys(_names(self._tree, text)))
        self._canonical = ast.unparse(self._tree)

    def __repr__(self) -> str:
        return f"Scale({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return self._canonical == other._canonical if isinstance(other, Scale) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._canonical)

    def value(self, scalars: Mapping[str, float], field: str, sample_id: str | None = None) -> float:
        """Return what `field` is divided by in a sample with these scalars: a number in FLOAT32_RANGE, of either sign.

        Raises UnknownScalar for one that is not there, InvalidParameter for any other result; both name the sample.
        """
        where = "the sample" if sample_id is None else f"sample {sample_id!r}"
        for name in self.names:
            if name not in scalars:
                told = f"the scale {self.text!r} of {field} cannot be computed: {where}"
                raise UnknownScalar.among("scalar", name, scalars, where=told, sample=sample_id)
        try:
            value = _evaluate(self._tree, scalars)
        except (ArithmeticError, ValueError):  # a division by 0, a result that float64 cannot hold, a root of -1
            value = math.nan
        low, high = FLOAT32_RANGE
        if not low <= abs(value) <= high:
            given = ", ".join(f"{name} = {scalars[name]:g}" for name in self.names)
            raise InvalidParameter(
                f"the scale {self.text!r} of {field} is {value:g} for {where}"
                f"{f' ({given})' if given else ''}, and nothing can be divided by that; correct the expression, or the "
                "scalars of the sample.",
                sample=sample_id,
                field=field,
            )
        return value


def parse_scales(scale: Mapping[str, str | Scale] | None) -> dict[str, Scale]:
    """Return the scales by field; raises InvalidParameter for what is no mapping from fields to expressions."""
    if scale is None:
        return {}
    if not isinstance(scale, Mapping):
        raise InvalidParameter.of(
            "scale", repr(scale), 'a mapping from fields to expressions, such as {"surface_pressure": "U_inf**2"}'
        )
    return {field: each if isinstance(each, Scale) else Scale(each) for field, each in scale.items()}


def check_scaled_fields(scales: Mapping[str, Scale], fields: Collection[str], where: str) -> None:
    """Raise UnknownField, with near names, for a scale of a field that is none of `fields`."""
    for field in scales:
        if field not in fields:
            raise UnknownField.among("field", field, fields, where=where)


def check_samples(
    scales: Mapping[str, Scale], manifest: StoreManifest, sample_ids: Collection[str], store: str | None = None
) -> None:
    """Compute the scales of all samples that hold their fields.

    Raises what Scale.value raises; UnknownScalar says which samples of `store` lack a scalar, and how many.
    """
    domains = {field: domain for domain, layout in manifest.domains.items() for field in layout.arrays}
    entries = {sample_id: manifest.samples[sample_id] for sample_id in sample_ids} if scales else {}
    for field, scale in scales.items():
        held = {each: entry.scalars for each, entry in entries.items() if domains.get(field) in entry.domains}
        for name in scale.names:
            if not all(name in scalars for scalars in held.values()):
                divided = f", whose {field} is divided by {scale.text!r},"
                raise UnknownScalar.lacking(name, held, of=divided, store=store)
        for sample_id, scalars in held.items():
            scale.value(scalars, field, sample_id)


def _invalid(text: object, allowed: str) -> InvalidParameter:
    return InvalidParameter.of("scale", str(text), f"an expression such as '0.5 * rho_inf * U_inf**2': {allowed}")


def _names(node: ast.expr, text: str) -> list[str]:
    """Return the names in a tree; raises InvalidParameter where there is anything else than may be."""
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            try:
                if math.isfinite(float(number)):
                    return []
            except OverflowError:
                pass
            raise _invalid(text, "its numbers are finite")
        case ast.Name(id=name):
            return [name]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _SIGNS:
            return _names(operand, text)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _names(left, text) + _names(right, text)
    raise _invalid(text, f"it has {_ALLOWED}")


def _evaluate(node: ast.expr, scalars: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.Name(id=name):
            return float(scalars[name])
        case ast.UnaryOp(op=op, operand=operand):
            return _SIGNS[type(op)](_evaluate(operand, scalars))
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_evaluate(left, scalars), _evaluate(right, scalars))
    raise AssertionError(node)  # _names has refused it
