"""The types of errors are the tree that is drawn at the head of their module, and no message is empty of advice."""

from __future__ import annotations

import re

from tap_vonage_reports import errors


def drawn() -> dict[str, str]:
    """The parent of each type in the drawing, by name."""
    parents: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"[ |]*(?:\+-- )?(\w+Error)\b", line)
        if not found:
            continue
        depth = found.start(1)
        above = [(known, name) for known, name in above if known < depth]
        if above:
            parents[found[1]] = above[-1][1]
        above.append((depth, found[1]))
    return parents


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.TapError)]
    assert drawn() == {
        kind.__name__: kind.__base__.__name__ for kind in kinds if kind is not errors.TapError and kind.__base__
    }


def test_an_error_of_the_api_quotes_title_and_parameters_and_says_what_to_do() -> None:
    error = errors.WindowInFutureError(422, "Unprocessable entity", ["date_end"])
    assert str(error) == (
        "The API rejected the request: HTTP 422 Unprocessable entity (invalid parameters: date_end). "
        "Set end_date to an earlier time. Without end_date, check this machine's clock."
    )
