"""The texts of the tap's errors and log lines, read from its source code for the documentation.

Each call that makes an error or writes a log line gives one text, or one for each caller that passes it another.
`Message.site` names the place of the call, so that a test can compare what is found here with what the code contains.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from docs.source import MAX_DEPTH, UNBOUND, VARIES, bindings, distinct, modules, says_something, texts
from tap_vonage_reports import errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TypeAlias

    from docs.source import Binding, Scope

    ErrorType: TypeAlias = type[errors.TapError]

Kind = TypeVar("Kind")

LEVELS = ("critical", "error", "warning", "info", "debug")

_LEVEL_OF = {**{level: level for level in LEVELS}, "exception": "error"}
_LOGGERS = {"logger", "log"}
PLACEHOLDERS = {
    "TimeWindow": "window",
    "account": "account",
    "cause": "reason",
    "contradiction": "details",
    "difference": "time",
    "earliest": "date",
    "error": "reason",
    "failure": "window",
    "first": "clock",
    "job": "report",
    "last": "clock",
    "name": "name",
    "now": "time",
    "page": "window",
    "pages": "pages",
    "partition": "partition",
    "reason": "reason",
    "retention": "limit",
    "rows": "rows",
    "status": "status",
    "stream": "stream",
    "traceback_without_text": "traceback",
    "used": "clock",
    "whole": "window",
    "window": "window",
}
"""Words for values of log lines, by the names of the values in the code."""
_SPECS = {",": "number", "%Y": "time", "d": "number", "f": "number"}
_COUNTED = re.compile(f"{VARIES}(?= [A-Za-z])")
"""The number in a text that `plurals.counted` makes."""
_FORMAT = re.compile(r"%[-+ #0]*\d*(?:\.\d+)?[a-z]")


@dataclass(frozen=True)
class Message(Generic[Kind]):
    """A text that the tap may write.

    Attributes:
        kind: Error type, or log level.
        text: The text, with `VARIES` for the parts that differ, or in a log line a word such as ``<window>``.
        site: File and line of the call.
    """

    kind: Kind
    text: str
    site: str


@cache
def error_types() -> tuple[ErrorType, ...]:
    """Return the error types in the order of their module."""
    found = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return tuple(kind for kind in found if issubclass(kind, errors.TapError))


def error_texts() -> dict[ErrorType, list[str]]:
    """Return the texts of all errors, by type."""
    return _by_kind(error_messages())


def log_texts() -> dict[str, list[str]]:
    """Return the texts of all log lines, by level."""
    found = _by_kind(log_messages())
    return {level: found.get(level, []) for level in LEVELS}


@cache
def error_messages() -> tuple[Message[ErrorType], ...]:
    """Return the messages of all errors."""
    return tuple(message for module in modules().values() for scope in module.scopes for message in _errors_in(scope))


@cache
def log_messages() -> tuple[Message[str], ...]:
    """Return the messages of all log lines."""
    return tuple(
        message for module in modules().values() for scope in module.scopes for message in _log_lines_in(scope)
    )


def _by_kind(messages: Iterable[Message[Kind]]) -> dict[Kind, list[str]]:
    found = defaultdict(list)
    for message in messages:
        found[message.kind].append(message.text)
    return {kind: distinct(said) for kind, said in found.items()}


# Errors


class _Value(str):
    """A value in an error's text: `VARIES` in every format."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        return VARIES


def _errors_in(scope: Scope) -> Iterator[Message[ErrorType]]:
    for call in scope.calls:
        for binding in bindings(scope):
            for kind in _kinds(call.func, scope, binding):
                for text in _error_texts(kind, call, scope, binding):
                    yield Message(kind, text, scope.module.site(call))
    for kind, problem in _problems(scope):
        for text in texts(problem, scope):
            yield Message(kind, text, scope.module.site(problem))


def _kinds(node: ast.expr, scope: Scope, binding: Binding, depth: int = 0) -> list[ErrorType]:
    """Return the error types that an expression may stand for."""
    known = {kind.__name__: kind for kind in error_types()}
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) if name in known:
            return [known[name]]
        case ast.Name(id=name) if name in binding.arguments:
            argument, caller = binding.arguments[name]
            return _kinds(argument, caller, UNBOUND, depth + 1)
        case ast.Name(id=name):
            parts = scope.values(name)
        case ast.IfExp(body=body, orelse=otherwise):
            parts = [body, otherwise]
        case ast.Call(func=ast.Name(id=name)):
            return [kind for kind in _returned_kinds(name, scope, depth + 1) if depth < MAX_DEPTH]
        case _:
            parts = []
    return [kind for part in parts if depth < MAX_DEPTH for kind in _kinds(part, scope, binding, depth + 1)]


def _returned_kinds(name: str, scope: Scope, depth: int) -> list[ErrorType]:
    """Return the error types that a function of the same module returns."""
    return [
        kind
        for function in scope.module.scopes
        if function.name == name
        for node in function.nodes
        if isinstance(node, ast.Return) and node.value
        for kind in _kinds(node.value, function, UNBOUND, depth)
    ]


def _problems(scope: Scope) -> Iterator[tuple[ErrorType, ast.expr]]:
    """Find the lines of errors that list several: yielded by functions ``..._problems`` or appended to ``problems``.

    The lines are of the error that the same function raises, or else of a `SettingsError`.
    """
    raised = [node.exc.func for node in scope.nodes if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)]
    kinds = [kind for function in raised for kind in _kinds(function, scope, UNBOUND)] or [errors.SettingsError]
    for node in scope.nodes:
        match node:
            case ast.Yield(value=ast.expr() as problem) if scope.name.endswith("_problems"):
                yield errors.SettingsError, problem
            case ast.Call(func=ast.Attribute(value=ast.Name(id="problems"), attr="append"), args=[problem]):
                yield kinds[0], problem


def _error_texts(kind: ErrorType, call: ast.Call, scope: Scope, binding: Binding) -> Iterator[str]:
    """Make the error that a call makes, with texts as its arguments, and return its message."""
    make: Any = kind
    positional = [_values(argument, scope, binding) for argument in call.args if not isinstance(argument, ast.Starred)]
    positional += [[_Value(VARIES)]] * (_required(kind) - len(positional) if len(positional) < len(call.args) else 0)
    names = [keyword.arg for keyword in call.keywords if keyword.arg]
    named = [_values(keyword.value, scope, binding) for keyword in call.keywords if keyword.arg]
    for arguments in product(*positional, *named):
        given, keywords = arguments[: len(positional)], dict(zip(names, arguments[len(positional) :], strict=True))
        yield str(make(given) if kind is errors.SettingsError else make(*given, **keywords))


def _values(node: ast.expr, scope: Scope, binding: Binding) -> list[str]:
    return [_Value(text) if text == VARIES else text for text in texts(node, scope, binding)]


def _required(kind: ErrorType) -> int:
    """Return how many positional arguments an error needs."""
    parameters = inspect.signature(kind).parameters.values()
    return sum(one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD for one in parameters)


# Log lines


def _log_lines_in(scope: Scope) -> Iterator[Message[str]]:
    for call in scope.calls:
        if logged := _logged(call):
            level, parts = logged
            for binding in bindings(scope):
                for format_, *values in product(*(texts(part, scope, binding) for part in parts)):
                    text = _formatted(format_, values)
                    if says_something(text):
                        shown = [_shown(part, value) for part, value in zip(parts[1:], values, strict=True)]
                        text = _formatted(format_, shown)
                    yield Message(level, text, scope.module.site(call))


def _logged(call: ast.Call) -> tuple[str, list[ast.expr]] | None:
    """Return the level of a logger's call, and its format and arguments; None for other calls."""
    match call.func:
        case ast.Attribute(value=ast.Name(id=logger) | ast.Attribute(attr=logger), attr=method):
            if logger.strip("_").lower() not in _LOGGERS:
                return None
        case _:
            return None
    if method == "log" and len(call.args) > 1:
        return ast.unparse(call.args[0]).rpartition(".")[2].lower(), call.args[1:]
    return (_LEVEL_OF[method], call.args) if method in _LEVEL_OF and call.args else None


def _shown(node: ast.expr, text: str) -> str:
    """Return a text, or the word for a value that varies, from the name or the format that it has in the code."""
    if text != VARIES:
        return _COUNTED.sub("<number>", text)
    formats = [part.format_spec for part in ast.walk(node) if isinstance(part, ast.FormattedValue)]
    spec = "".join(ast.unparse(format_) for format_ in formats if format_)
    words = [PLACEHOLDERS[name] for part in ast.walk(node) if (name := _name(part)) in PLACEHOLDERS]
    words += [word for mark, word in _SPECS.items() if mark in spec]
    return f"<{words[0]}>" if words else VARIES


def _name(node: ast.AST) -> str:
    return str(getattr(node, "attr", getattr(node, "id", "")))


def _formatted(format_: str, values: list[str]) -> str:
    left = iter(values)

    def word(code: re.Match[str]) -> str:
        value = next(left, VARIES)
        return "<number>" if value[:1] in (VARIES, "<") and code[0][-1] in "df" else value

    return _FORMAT.sub(word, format_)
