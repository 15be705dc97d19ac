"""The changes to a module: each removes or inverts one check.

In: the module's source. Out: for each change its line, what it does, and the changed syntax tree.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_BOUNDS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
}


@dataclass(frozen=True, slots=True)
class Mutation:
    """`tree`: the whole module, changed."""

    line: int
    what: str
    tree: ast.Module


def mutations(source: str) -> Iterator[Mutation]:
    """In the order of the source, always the same."""
    original = ast.parse(source)
    for number, node in enumerate(ast.walk(original)):
        for what, change in _changes(node):
            tree = copy.deepcopy(original)
            target = next(each for at, each in enumerate(ast.walk(tree)) if at == number)
            change(target)
            text = ast.unparse(node).splitlines()[0][:90]
            yield Mutation(getattr(node, "lineno", 0), f"{what}: {text}", ast.fix_missing_locations(tree))


def _changes(node: ast.AST) -> Iterator[tuple[str, Callable[[ast.AST], None]]]:
    match node:
        case ast.If() | ast.IfExp():
            yield "condition turned round", _invert
        case ast.Compare(ops=[op]) if type(op) in _BOUNDS:
            yield "bound moved by one", _move_bound
        case ast.BoolOp(values=values):
            for position in range(len(values)):
                yield f"operand {position + 1} left out", _without(position)
    for field in ("body", "orelse", "finalbody"):
        statements = getattr(node, field, None)
        for position, statement in enumerate(statements if isinstance(statements, list) else ()):
            if _refuses(statement):
                yield f"taken out ({ast.unparse(statement)[:60]})", _emptied(field, position)


def _refuses(statement: ast.stmt) -> bool:
    """Raises, returns an error, or calls for a refusal."""
    match statement:
        case ast.Raise():
            return True
        case ast.Return(value=ast.Call(func=ast.Name(id=name))):
            return name in {"Forbidden", "UnsupportedMediaType", "Unavailable", "Unauthorized"}
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr=name))):
            return name in {"_refuse", "check", "trailer", "drop", "close", "release", "piece", "feed"}
        case ast.Expr(value=ast.Call(func=ast.Name(id=name))):
            return name.startswith(("check", "_check"))
    return False


def _invert(node: ast.AST) -> None:
    assert isinstance(node, ast.If | ast.IfExp)
    node.test = ast.UnaryOp(ast.Not(), node.test)


def _move_bound(node: ast.AST) -> None:
    assert isinstance(node, ast.Compare)
    node.ops = [_BOUNDS[type(node.ops[0])]()]


def _without(position: int) -> Callable[[ast.AST], None]:
    def change(node: ast.AST) -> None:
        assert isinstance(node, ast.BoolOp)
        del node.values[position]
        if len(node.values) == 1:
            # An operator of one operand is none.
            node.values.append(ast.copy_location(ast.Constant(isinstance(node.op, ast.And)), node))

    return change


def _emptied(field: str, position: int) -> Callable[[ast.AST], None]:
    def change(node: ast.AST) -> None:
        getattr(node, field)[position] = ast.Pass()

    return change
