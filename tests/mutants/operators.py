"""Small faults for a module, one at a time: what a test suite that reads the code closely has to notice."""

from __future__ import annotations

import ast
import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
QUIET = ("logger",)
"""Calls of these objects stay: a log line that is missing breaks nothing."""
ASSERTION = ("zip", "strict=True")
"""A function, and an argument of its calls that stays: no input violates it unless other code is wrong."""
BUFFERS = ("BLOCK_", "BLOCKS_", "CHUNK_", "IN_MEMORY_", "SEGMENT_")
"""How constants begin that stay: they say how much is handled or kept in memory at a time, not with what result."""
EMPTY = ("False", "''", "{}", "[]", "()", "0", "None")
"""Results that stay, because None would be taken for the same."""


@dataclass(frozen=True, order=True)
class Mutant:
    """One fault in a module.

    Attributes:
        path: The module, relative to the tree.
        line: Where the fault begins.
        kind: What was changed.
        start: Where the changed text begins, in bytes.
        end: Where it ends.
        text: What stands there instead.
    """

    path: str
    line: int
    kind: str
    start: int
    end: int
    text: str

    def apply(self, source: str) -> str:
        """Return the source of the module with the fault."""
        content = source.encode()
        return (content[: self.start] + self.text.encode() + content[self.end :]).decode()

    def diff(self, source: str) -> list[str]:
        """Return the lines that are removed and added."""
        lines = difflib.unified_diff(source.splitlines(), self.apply(source).splitlines(), n=0, lineterm="")
        return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


def mutants_of(path: str, source: str) -> list[Mutant]:
    """Return all mutants of a module, each of which compiles.

    Args:
        path: Its path in the tree.
        source: Its text.
    """
    tree = ast.parse(source)
    starts = [0]
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for node, kind, text in _changes(tree, source):
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        mutant = Mutant(path, node.lineno, kind, start, end, text)
        if _compiles(mutant.apply(source)):
            found.append(mutant)
    return sorted(set(found))


def _compiles(source: str) -> bool:
    try:
        compile(source, "mutant", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True


def _nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes whose change can matter: no annotations, decorators, f-strings, assertions, buffers."""
    if isinstance(node, (ast.JoinedStr, ast.AnnAssign)):
        if isinstance(node, ast.AnnAssign) and node.value:
            yield from _nodes(node.value)
        return
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).startswith(BUFFERS):
        return
    if isinstance(node, ast.Expr) and ast.unparse(node.value).startswith(tuple(f"{name}." for name in QUIET)):
        return
    yield node
    for name, value in ast.iter_fields(node):
        if name not in ("annotation", "returns", "decorator_list"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not _is_assertion(node, child):
                    yield from _nodes(child)


def _is_assertion(node: ast.AST, argument: ast.AST) -> bool:
    return isinstance(node, ast.Call) and (ast.unparse(node.func), ast.unparse(argument)) == ASSERTION


_Place = ast.expr | ast.stmt


def _changes(tree: ast.Module, source: str) -> Iterator[tuple[_Place, str, str]]:
    """Yield what to replace, the kind of the fault, and the new text."""
    for node in _nodes(tree):
        if isinstance(node, ast.expr):
            for kind, text in _other_expressions(node):
                yield node, kind, text
        elif isinstance(node, ast.stmt):
            for kind, text in _other_statements(node):
                yield node, kind, text
        for test in _tests(node):
            if not isinstance(test, (ast.Compare, ast.UnaryOp)):
                yield test, "condition", f"not ({ast.get_source_segment(source, test)})"


def _other_expressions(node: ast.expr) -> Iterator[tuple[str, str]]:
    match node:
        case ast.Compare(left=left, ops=[operator, *others], comparators=comparators):
            other = COMPARISONS[type(operator)]()
            yield "comparison", ast.unparse(ast.Compare(left, [other, *others], comparators))
        case ast.BoolOp(op=operation, values=values):
            other_op = ast.Or() if isinstance(operation, ast.And) else ast.And()
            yield "boolean", f"({ast.unparse(ast.BoolOp(other_op, values))})"
        case ast.BinOp(left=left, op=arithmetic, right=right) if type(arithmetic) in ARITHMETIC:
            yield "arithmetic", f"({ast.unparse(ast.BinOp(left, ARITHMETIC[type(arithmetic)](), right))})"
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "negation", f"({ast.unparse(operand)})"
        case ast.Constant(value=bool(value)):
            yield "constant", str(not value)
        case ast.Constant(value=int(number) | float(number)):
            yield from (("constant", f"({changed})") for changed in (number + 1, number - 1))


def _other_statements(node: ast.stmt) -> Iterator[tuple[str, str]]:
    match node:
        case ast.Expr(value=ast.Call()):
            yield "removed call", "pass"
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) not in EMPTY:
            yield "return value", "return None"
        case ast.Break():
            yield "loop", "continue"
        case ast.Continue():
            yield "loop", "break"


def _tests(node: ast.AST) -> list[ast.expr]:
    """Return the conditions of a node."""
    if isinstance(node, (ast.If, ast.IfExp, ast.While)):
        return [node.test]
    return node.ifs if isinstance(node, ast.comprehension) else []
