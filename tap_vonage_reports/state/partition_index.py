"""PartitionIndex: finds the state of a partition by its context, without a search through all partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_vonage_reports.state.format import CONTEXT, PARTITIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping


class PartitionIndex:
    """The partitions of one stream's state, by context."""

    def __init__(self, stream_state: Callable[[], dict[str, Any]]) -> None:
        """Set up an empty index.

        Args:
            stream_state: Returns the state of the stream, which may be changed in place.
        """
        self._stream_state = stream_state
        self._partitions: list[dict[str, Any]] = []
        self._indexed = 0
        self._by_context: dict[Hashable, dict[str, Any]] = {}

    def get(self, context: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the state of a partition; None if there is none."""
        self._index()
        return self._by_context.get(context_key(context))

    def find(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Return the state of a partition; a new one at the end of the list if there is none."""
        state = self.get(context)
        if state is None:
            state = {CONTEXT: dict(context)}
            self._partitions.append(state)
        return state

    def remove(self, contexts: Iterable[Mapping[str, Any]]) -> None:
        """Remove the states of partitions, as far as there are any."""
        gone = {id(state) for context in contexts if (state := self.get(context)) is not None}
        if gone:
            self._partitions[:] = [state for state in self._partitions if id(state) not in gone]
            self._indexed, self._by_context = 0, {}

    def _index(self) -> None:
        """Index what was added since the last time."""
        partitions = self._stream_state().setdefault(PARTITIONS, [])
        if partitions is not self._partitions or len(partitions) < self._indexed:
            self._partitions, self._indexed, self._by_context = partitions, 0, {}
        for state in partitions[self._indexed :]:
            self._by_context.setdefault(context_key(state[CONTEXT]), state)
        self._indexed = len(partitions)


def context_key(context: Mapping[str, Any]) -> Hashable:
    """Return a key for a context, also for one of another tap, whose values need not be hashable."""
    return tuple(sorted((name, repr(value)) for name, value in context.items()))
