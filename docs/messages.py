"""What the tap can say, read from its source: the texts of its errors, and of its log lines."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tap_vonage_reports
from tap_vonage_reports import errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VARIES = "…"
"""Stands for what is not the same each time."""
LEVELS = ("critical", "error", "warning", "info")

_FORMAT = re.compile(r"%[-+ #0]*\d*(\.\d+)?[a-z]")
_FEWEST_LETTERS = 8
"""A text with fewer letters only puts others together."""


@dataclass(frozen=True)
class _Function:
    """A function of the tap's source.

    Attributes:
        node: Its definition.
        texts: What its local names stand for, by name and line, where that is a text.
    """

    node: ast.FunctionDef
    texts: tuple[tuple[int, str, ast.expr], ...]

    def text(self, node: ast.expr | None, given: Mapping[str, str] | None = None) -> str:
        """An expression as text, with `VARIES` for the parts that are not written out."""
        given = given or {}
        match node:
            case ast.Constant(value=str(text)):
                return text
            case ast.JoinedStr(values=values):
                return "".join(self.text(part, given) for part in values)
            case ast.FormattedValue(value=part) | ast.IfExp(body=part) | ast.List(elts=[part]):
                return self.text(part, given)
            case ast.Name(id=name):
                before = [value for line, known, value in self.texts if known == name and line < node.lineno]
                return self.text(before[-1], given) if before else given.get(name, VARIES)
        return VARIES


def error_types() -> list[type[errors.TapError]]:
    """The types of errors, in the order of their module."""
    found = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return [kind for kind in found if issubclass(kind, errors.TapError)]


def error_texts() -> dict[type[errors.TapError], list[str]]:
    """What errors say, by their type, with `VARIES` for what varies."""
    kinds = {kind.__name__: kind for kind in error_types()}
    found: dict[type[errors.TapError], dict[str, None]] = defaultdict(dict)
    for functions in _modules():
        makers = {function.node.name: function for function in functions if _made(function, kinds)}
        for function in functions:
            for call in _calls(function.node):
                name = _name(call)
                if name in kinds and function not in makers.values():
                    kind, texts = kinds[name], [function.text(argument) for argument in call.args]
                elif name in makers:
                    maker = makers[name]
                    names = [argument.arg for argument in maker.node.args.args if argument.arg != "self"]
                    given = dict(zip(names, map(function.text, call.args), strict=False))
                    made = _made(maker, kinds)
                    kind, texts = kinds[_name(made[0])], [maker.text(argument, given) for argument in made[0].args]
                else:
                    continue
                found[kind][_message(kind, texts)] = None
            if function.node.name.endswith("_problems"):
                problems = (node.value for node in ast.walk(function.node) if isinstance(node, ast.Yield))
                found[errors.SettingsError] |= dict.fromkeys(map(function.text, problems))
    for kind in kinds.values():
        if issubclass(kind, errors.RequestRejectedError):
            found[kind][_message(kind, [])] = None
    return {kind: [text for text in texts if _says_something(text)] for kind, texts in found.items()}


def log_texts() -> dict[str, list[str]]:
    """What is logged, by level, with `VARIES` for what varies."""
    found: dict[str, dict[str, None]] = {level: {} for level in LEVELS}
    for functions in _modules():
        for function in functions:
            for call in _calls(function.node):
                logs = isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) in (
                    "logger",
                    "self.logger",
                )
                if logs and _name(call) in LEVELS:
                    text = _FORMAT.sub(VARIES, function.text(call.args[0]))
                    found[_name(call)][text] = None
    return {level: list(filter(_says_something, texts)) for level, texts in found.items()}


def _message(kind: type[errors.TapError], arguments: list[str]) -> str:
    """What an error says that is made of these texts."""
    make: Any = kind
    if issubclass(kind, errors.RequestRejectedError):  # of status and title, which the API says
        return str(make(VARIES, VARIES))
    return str(make(arguments) if issubclass(kind, errors.SettingsError) else make(*arguments))


def _says_something(text: str) -> bool:
    return sum(map(str.isalpha, text)) >= _FEWEST_LETTERS


def _modules() -> Iterator[list[_Function]]:
    """The functions of each of the tap's own modules."""
    for path in sorted(Path(tap_vonage_reports.__file__).parent.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        yield [_function(node) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def _function(node: ast.FunctionDef) -> _Function:
    assigned = [
        (part.lineno, target.id, part.value)
        for part in ast.walk(node)
        if isinstance(part, ast.Assign)
        for target in part.targets
        if isinstance(target, ast.Name)
    ]
    return _Function(node, tuple(sorted(assigned, key=itemgetter(0))))


def _calls(node: ast.AST) -> list[ast.Call]:
    return [part for part in ast.walk(node) if isinstance(part, ast.Call)]


def _name(call: ast.Call) -> str:
    """The last part of the name of what is called."""
    return ast.unparse(call.func).rpartition(".")[2]


def _made(function: _Function, kinds: Mapping[str, object]) -> list[ast.Call]:
    """The errors that a function returns rather than raises; only where there is one kind of them."""
    returned = [part.value for part in ast.walk(function.node) if isinstance(part, ast.Return)]
    made = [value for value in returned if isinstance(value, ast.Call) and _name(value) in kinds]
    return made if len(made) == 1 == len(returned) else []
