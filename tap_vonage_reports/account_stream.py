"""AccountStream: the primary account and its sub-accounts, as a stream that every run reads whole."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tap_vonage_reports.config.schema import NO_SUBACCOUNTS
from tap_vonage_reports.config.settings import subaccounts_of
from tap_vonage_reports.extract.outcome import recorded
from tap_vonage_reports.metrics import PartitionResult
from tap_vonage_reports.planning.partition import WholeTable
from tap_vonage_reports.record_stream import RecordStream
from tap_vonage_reports.sources import ACCOUNTS

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from singer_sdk.helpers.types import Context

    from tap_vonage_reports.output.batch_files import BatchConfig
    from tap_vonage_reports.tap import TapVonageReports


class AccountStream(RecordStream):
    """The accounts whose records the other streams hold. It has no partitions and no bookmark."""

    def __init__(self, tap: TapVonageReports) -> None:
        """Set up the stream; no request is sent yet.

        Args:
            tap: The tap.
        """
        self.selected_by_default = ACCOUNTS.selected or subaccounts_of(tap.config) != NO_SUBACCOUNTS
        super().__init__(tap, ACCOUNTS)

    def get_records(self, context: Context | None) -> Iterator[dict[str, Any]]:  # noqa: ARG002 - it has no partitions
        """Read all accounts.

        Args:
            context: None.

        Yields:
            Records that the SDK writes; see `ReportStream.get_records`.

        Raises:
            FatalApiError: The API cannot be used at all.
        """
        result = self.new_result()
        with self._syncing(result):
            yield from self._write(self._parser.parse_rows(self.fetch_rows(result)), result)

    def get_batches(
        self,
        batch_config: BatchConfig,
        context: Context | None = None,  # noqa: ARG002 - it has no partitions
    ) -> Iterator[tuple[Any, list[str]]]:
        """Read all accounts into files.

        Args:
            batch_config: Format and place of the files.
            context: None.

        Yields:
            How the files are encoded, and their addresses.

        Raises:
            FatalApiError: The API cannot be used at all.
            TapError: A file cannot be written.
        """
        result = self.new_result()
        with self._syncing(result), self._batch_files(batch_config) as files:
            rows = self.fetch_rows(result)
            files.write_records(self._parser.parse_rows(rows))
            yield from self._announce(files)
            result.rows += len(rows)

    def new_result(self) -> PartitionResult:
        """Return an empty result of reading the stream."""
        return PartitionResult(WholeTable(ACCOUNTS))

    def fetch_rows(self, result: PartitionResult) -> list[dict[str, Any]]:
        """Fetch all accounts, or return them if the run has already listed them.

        Args:
            result: Takes what was fetched.

        Returns:
            The rows as the API sent them.

        Raises:
            ApiError: The accounts cannot be listed.
        """
        accounts = self.session.account_list
        result.fetched = accounts.fetched
        rows = accounts.rows()
        accounts.fetched.count_table(len(rows))
        return rows

    @contextmanager
    def _syncing(self, result: PartitionResult) -> Generator[None, None, None]:
        """Read the stream in a `with` block; how that ends is recorded for the summary."""
        with self._measuring(result), recorded(self.session.results, result):
            yield
