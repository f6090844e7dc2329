"""Rows freed of text that no target accepts (see `odd_text`), with the same result for pages and reports."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tap_vonage_reports.odd_json import encode_odd_json, read_cell
from tap_vonage_reports.odd_text import MARK, mend_text, mend_value, write_out, write_out_json
from tap_vonage_reports.records.cell_text import holds_object

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ORIGINALS = "\0originals"
"""The name under which a row carries the originals of its odd fields: texts by field. No mended name is like it."""
ROW_FIELD = "_row"
"""The field of what stands where a row should, and is no object."""


def mend_row(row: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    """Return a row of JSON without anything odd; what it was is in `ORIGINALS`. Odd names of fields are written out.

    An object or a list with something odd in it becomes the text of a CSV cell, which has escapes for it.
    """
    if not isinstance(row, dict):
        row = {ROW_FIELD: encode_odd_json(row)}
    mended: dict[str, Any] = {}
    originals: dict[str, str] = {}
    for name, value in row.items():
        field, plain = write_out(name), mend_value(value)
        if plain is not value:
            text = value if isinstance(value, str) else encode_odd_json(value)
            plain = mend_value(text)
            if plain is not text:
                originals[field] = _original(text)
        mended[field] = plain
    return {**mended, ORIGINALS: originals} if originals else mended


def mend_columns(columns: Mapping[str, Sequence[str]]) -> dict[str, Sequence[Any]]:
    """Return columns of CSV cells without anything odd; what it was is in the column `ORIGINALS`, None if nothing."""
    mended: dict[str, Sequence[Any]] = dict(columns)
    originals: dict[int, dict[str, str]] = {}
    for name, cells in columns.items():
        if MARK in "".join(cells):
            mended[name] = [*map(mend_text, cells)]
            for row, (cell, new) in enumerate(zip(cells, mended[name], strict=True)):
                if new != cell:
                    originals.setdefault(row, {})[name] = _original(cell)
    if originals:
        count = len(next(iter(columns.values())))
        mended[ORIGINALS] = [originals.get(row) for row in range(count)]
    return mended


def _original(text: str) -> str:
    """Return an odd text written out: compact if it is JSON of an object or a list (see `cell_text.extra_text`)."""
    if holds_object(text):
        with suppress(ValueError):
            return write_out_json(encode_odd_json(read_cell(text)))
    return write_out(text)
