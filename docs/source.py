"""The tap's source code, parsed: its functions, what callers pass to them, and the texts that expressions stand for.

Nothing is run. A text has `VARIES` for each part that is not written out in the code. Texts are followed through local
names, constants, parameters and functions that return a text.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from itertools import chain, product
from pathlib import Path
from typing import TYPE_CHECKING

import tap_vonage_reports

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VARIES = "…"
"""Stands for the parts of a text that differ each time."""
MAX_DEPTH = 5
"""Steps through names and functions that one text may take. Also ends recursion."""

_PACKAGE = Path(tap_vonage_reports.__file__).parent
_OTHER_PROGRAMS = ("sandbox",)
"""Packages of the distribution that are not part of the tap."""
_MIN_LETTERS = 4
"""A text with fewer letters only joins others, such as ``%s: %s``, or ends a word, such as a plural *s*."""


@dataclass(frozen=True)
class Module:
    """A module of the tap.

    Attributes:
        path: Path in the package.
        imported: Names imported with ``from``: module and name there, by name here.
        functions: Functions, by class (empty outside classes) and name.
        scopes: The module itself, then its functions.
    """

    path: str
    imported: dict[str, tuple[str, str]] = field(default_factory=dict)
    functions: dict[tuple[str, str], Scope] = field(default_factory=dict)
    scopes: list[Scope] = field(default_factory=list)

    def site(self, node: ast.expr) -> str:
        """Return file and line of an expression, such as ``api/client.py:120``."""
        return f"{self.path}:{node.lineno}"

    def origin(self, name: str) -> tuple[Module, str]:
        """Return the module of the tap that defines a name, and the name there."""
        there, name_there = self.imported.get(name, ("", ""))
        found = modules().get(there)
        return (found, name_there) if found else (self, name)


@dataclass(frozen=True, eq=False)
class Scope:
    """A function, or a module outside its functions.

    Attributes:
        module: The module that contains it.
        owner: The class that contains it, or an empty text.
        name: Name of the function; empty for a module.
        outer: The enclosing scope; None for a module.
        parameters: Parameters without ``self`` and ``cls``, with their defaults.
        nodes: Nodes of the syntax tree, without those of inner functions.
        assigned: Assignments to local names: line, name, value.
    """

    module: Module
    owner: str = ""
    name: str = ""
    outer: Scope | None = None
    parameters: Mapping[str, ast.expr | None] = field(default_factory=dict)
    nodes: list[ast.AST] = field(default_factory=list)
    assigned: list[tuple[int, str, ast.expr]] = field(default_factory=list)

    @property
    def calls(self) -> list[ast.Call]:
        """Return the calls in this scope."""
        return [node for node in self.nodes if isinstance(node, ast.Call)]

    def values(self, name: str) -> list[ast.expr]:
        """Return every value that is assigned to a local name."""
        return [value for _, known, value in self.assigned if known == name]

    def value_before(self, name: ast.Name) -> ast.expr | None:
        """Return the value that is assigned to a local name last above the line of its use."""
        before = [value for line, known, value in self.assigned if known == name.id and line < name.lineno]
        return before[-1] if before else None


@dataclass(frozen=True)
class Binding:
    """The arguments of one call of a function.

    Attributes:
        arguments: Expressions by parameter, each with the scope that its names belong to.
    """

    arguments: Mapping[str, tuple[ast.expr, Scope]] = field(default_factory=dict)


UNBOUND = Binding()


@cache
def modules() -> dict[str, Module]:
    """Parse the modules of the tap, and return them by dotted name."""
    found = {}
    for path in sorted(_PACKAGE.rglob("*.py")):
        inside = path.relative_to(_PACKAGE)
        if inside.parts[0] not in _OTHER_PROGRAMS:
            module = Module(inside.as_posix())
            module.scopes.append(Scope(module))
            _read(ast.parse(path.read_text(encoding="utf-8")), module.scopes[0])
            dotted = ".".join((_PACKAGE.name, *inside.with_suffix("").parts))
            found[dotted.removesuffix(".__init__")] = module
    return found


def bindings(scope: Scope) -> list[Binding]:
    """Return what callers pass to a function: one binding for each call, or an empty one if no caller is known."""
    return _callers().get(scope) or [UNBOUND]


def texts(node: ast.expr | None, scope: Scope, binding: Binding = UNBOUND, depth: int = 0) -> list[str]:
    """Return the texts that an expression may stand for.

    Args:
        node: The expression.
        scope: The scope that its names belong to.
        binding: The values of the scope's parameters.
        depth: Steps taken so far.
    """
    found = [VARIES]
    match node:
        case ast.Constant(value=str(text)):
            found = [text]
        case ast.JoinedStr(values=parts):
            found = _joined([texts(part, scope, binding, depth) for part in parts])
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            found = _joined([texts(part, scope, binding, depth) for part in (left, right)])
        case ast.FormattedValue(value=inner) | ast.List(elts=[inner]):
            found = texts(inner, scope, binding, depth)
        case ast.IfExp(body=body, orelse=otherwise):
            either = [text for part in (body, otherwise) for text in texts(part, scope, binding, depth)]
            found = list(filter(says_something, either)) or either[:1]
        case ast.Name() if depth < MAX_DEPTH:
            found = _texts_of_name(node, scope, binding, depth + 1)
        case ast.Call() if depth < MAX_DEPTH:
            found = _texts_of_call(node, scope, binding, depth + 1)
    return found


def says_something(text: str) -> bool:
    """Return True if a text has words of its own."""
    return sum(map(str.isalpha, text)) >= _MIN_LETTERS


def _read(node: ast.AST, scope: Scope) -> None:
    """Sort what is below a node into scopes."""
    module = scope.module
    for part in ast.iter_child_nodes(node):
        scope.nodes.append(part)
        inner = scope
        match part:
            case ast.FunctionDef(name=name, args=args) | ast.AsyncFunctionDef(name=name, args=args):
                owner = node.name if isinstance(node, ast.ClassDef) else ""
                inner = Scope(module, owner or scope.owner, name, scope, _parameters(args))
                module.scopes.append(inner)
                module.functions.setdefault((owner, name), inner)
            case ast.ImportFrom(module=str(origin), names=names):
                module.imported.update({name.asname or name.name: (origin, name.name) for name in names})
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                scope.assigned.append((part.lineno, name, value))
        _read(part, inner)


def _parameters(args: ast.arguments) -> dict[str, ast.expr | None]:
    positional = [*args.posonlyargs, *args.args]
    defaults = [*[None] * (len(positional) - len(args.defaults)), *args.defaults]
    pairs = chain(zip(positional, defaults, strict=True), zip(args.kwonlyargs, args.kw_defaults, strict=True))
    return {argument.arg: default for argument, default in pairs if argument.arg not in ("self", "cls")}


@cache
def _callers() -> Mapping[Scope, list[Binding]]:
    found = defaultdict(list)
    for module in modules().values():
        for scope in module.scopes:
            for call in scope.calls:
                if function := _function(call, scope):
                    found[function].append(_bind(function, call, scope))
    return found


def _function(call: ast.Call, scope: Scope) -> Scope | None:
    """Return the function of the tap that a call names: its own method, or a function of a module."""
    match call.func:
        case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name):
            return scope.module.functions.get((scope.owner, name))
        case ast.Name(id=name):
            module, name = scope.module.origin(name)
            return module.functions.get(("", name))
    return None


def _bind(function: Scope, call: ast.Call, scope: Scope) -> Binding:
    given = {name: (default, function) for name, default in function.parameters.items() if default is not None}
    given |= {name: (value, scope) for name, value in zip(function.parameters, call.args, strict=False)}
    given |= {keyword.arg: (keyword.value, scope) for keyword in call.keywords if keyword.arg}
    return Binding(given)


def _joined(parts: list[list[str]]) -> list[str]:
    return [re.sub(f"{VARIES}+", VARIES, "".join(combination)) for combination in product(*parts)]


def _texts_of_name(node: ast.Name, scope: Scope, binding: Binding, depth: int) -> list[str]:
    if scope.outer is None:
        module, name = scope.module.origin(node.id)
        constant = module.scopes[0].values(name)
        found = texts(constant[-1], module.scopes[0], depth=depth) if constant else []
        # A constant of one word is a value, such as a key of the state.
        return [text for text in found if " " in text] or [VARIES]
    if value := scope.value_before(node):
        return texts(value, scope, binding, depth)
    if node.id in binding.arguments:
        argument, caller = binding.arguments[node.id]
        return texts(argument, caller, depth=depth)
    return [VARIES] if node.id in scope.parameters else _texts_of_name(node, scope.outer, UNBOUND, depth)


def _texts_of_call(call: ast.Call, scope: Scope, binding: Binding, depth: int) -> list[str]:
    """Return the texts that a function of the tap returns, if it returns at a single place."""
    if not (function := _function(call, scope)):
        return [VARIES]
    returned = [node.value for node in function.nodes if isinstance(node, ast.Return)]
    if len(returned) != 1:
        return [VARIES]
    given: dict[str, tuple[ast.expr, Scope]] = {
        name: (ast.Constant(value=texts(value, origin, binding, depth)[0]), origin)
        for name, (value, origin) in _bind(function, call, scope).arguments.items()
    }
    return texts(returned[0], function, Binding(given), depth)


def distinct(found: Iterable[str]) -> list[str]:
    """Return texts that say something, each once and in their order."""
    return list(dict.fromkeys(filter(says_something, found)))
