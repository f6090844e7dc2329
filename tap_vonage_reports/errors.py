"""The types of all errors that a user may see. A message is one line: what failed, why, and what to do.

The first sentence of a type's docstring is its heading in the documentation.

.. code-block:: text

    TapError
     |  on this side: nothing was read, or the output is broken
     +-- SettingsError
     +-- StateError
     +-- CatalogError
     +-- OutputError
     +-- BatchFileError
     +-- LoadError                        of target-vonage-files
     +-- BrokenPipeToTargetError
     +-- SyncFailedError                  ends a run in which a partition failed
     |
     +-- FatalApiError                    fatal: ends the run
     |    +-- CredentialsError
     |    +-- UnreachableError
     |
     +-- ApiError                         leaves a window out (gap), or ends the partition; the others go on
          +-- ConsecutiveGapsError        ends the partition
          +-- RequestRejectedError        gap: HTTP 4xx, never retried
          |    +-- UnexpectedRedirectError      ends the partition
          |    +-- ProductUnavailableError      ends the partition; skipped if that was never read
          |    |    +-- AccountsUnavailableError     the same for the stream of accounts
          |    +-- SubaccountsRefusedError      ends the partition
          |    +-- AccessDeniedError            concerns the account or the key, never skipped; ends the partition
          |    |    +-- CredentialsRevokedError
          |    +-- WindowInFutureError          retried once, with a shorter window; then ends the partition
          +-- RetriableApiError           retriable; gap after the last try
          |    +-- RateLimitedError
          |    +-- ForeignAnswerError
          |    +-- UndecodableBodyError         retried once
          |    +-- ConnectionFailedError        becomes an UnreachableError after the last try
          |         +-- ConnectionRefusedByHostError
          +-- ReportLimitError            retried for as long as a report may take
          +-- ReportError                 gap
          +-- ArchiveError                downloaded again, then pages read the window
          +-- PaginationError             gap
          +-- PrefetchStorageError        ends the partition
          +-- StreamMapError              ends the partition

No message holds a secret, a phone number, a body or the value of a setting. Of an error of the API, it holds the title
and the names of invalid parameters, but no free text, because that may repeat a value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


class TapError(Exception):
    """An error that the user can act on. Its message needs no traceback."""


class SettingsError(TapError):
    """The settings are invalid.

    All problems are reported together, one line each, with the names of the settings and never their values. The tap
    checks everything that it can before the first request.

    Attributes:
        problems: One line per problem.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class StateError(TapError):
    """The state cannot be used.

    The state given with `--state` is damaged or belongs to another tap, so nothing was read. The tap does not use the
    intact part of a damaged state, because a wrong guess about the rest would lose rows.
    """


class CatalogError(TapError):
    """The catalog cannot be used. The catalog given with `--catalog` does not fit this tap, so nothing was read."""


class OutputError(TapError):
    """Standard output cannot be written. It is closed, or its disk is full."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"Standard output cannot be written ({reason}). Check that it is open and that its disk has space. The "
            "next run resumes from the last state that the target kept."
        )


class BrokenPipeToTargetError(TapError):
    """The target closed the pipe. Usually the target itself failed, so check its log first."""


class SyncFailedError(TapError):
    """The run is incomplete.

    At least one partition failed. The summary names it, and this error says why. The target received the rows and the
    state of the other partitions. The next run reads what is missing.
    """


class BatchFileError(TapError):
    """A BATCH file cannot be written."""


class LoadError(TapError):
    """target-vonage-files cannot go on. What was committed before stays; the state has not passed the rest."""


class FatalApiError(TapError):
    """The API cannot be used at all, so the tap tries no other partition."""


class CredentialsError(FatalApiError):
    """Authentication failed.

    The API answered HTTP 401 before any request had succeeded, so the key or the secret is wrong.
    """

    advice = "Check api_key and api_secret in the Vonage dashboard; use the primary account's key."


class UnreachableError(FatalApiError):
    """The API cannot be reached.

    The tap could not connect, even after retries. The cause is the address, the network, a proxy or a certificate.
    """


# Of a partition: leaves a window out, or ends the partition


class ApiError(TapError):
    """The API did not deliver what a partition needs.

    If only one window is affected, the tap leaves it out and continues with the next one. Otherwise, and after three
    such windows in a row, the partition ends. The other partitions continue in either case.
    """

    leaves_gap: bool = False
    """True if the error affects only one window or report, so that the partition can continue."""


class ConsecutiveGapsError(ApiError):
    """Several windows in a row could not be read. The run does not try the rest of the partition."""

    def __init__(self, count: int) -> None:
        super().__init__(
            f"{count} windows in a row could not be read, so this run does not try the later ones. The errors above "
            "say why. The next run tries these windows first."
        )


ACCESS_STATUSES = frozenset({401, 402, 403, 407})
"""HTTP statuses that refuse the account rather than one window."""


class RequestRejectedError(ApiError):
    """The API rejected a request.

    The answer was HTTP 4xx, which no retry would change.

    Attributes:
        status: The HTTP status.
        title: The title of the API's problem body, or the reason phrase without one.
        parameters: The names of the parameters that the API calls invalid.
        answered_at: When the API answered, on the earliest clock, in UTC; None if unknown.
    """

    advice = "Check the setting behind the parameter. If it is right, the API's rules have changed."

    def __init__(
        self, status: int, title: str, parameters: Sequence[str] = (), answered_at: datetime | None = None
    ) -> None:
        self.status = status
        self.title = title
        self.parameters = tuple(parameters)
        self.answered_at = answered_at
        # Every more specific rejection concerns the account, the product or the address.
        self.leaves_gap = type(self) is RequestRejectedError and status not in ACCESS_STATUSES
        invalid = f" (invalid parameters: {', '.join(self.parameters)})" if self.parameters else ""
        super().__init__(f"The API rejected the request: HTTP {status} {title}{invalid}. {self.advice}")


class UnexpectedRedirectError(RequestRejectedError):
    """The API answered with a redirect. The tap follows none: the credentials are for `api_url` only."""

    advice = "Redirects are not followed, because the credentials are for api_url only. Check that address."


class ProductUnavailableError(RequestRejectedError):
    """The account does not have the product.

    The API says so with HTTP 401 or 403 "not provisioned", 403 "not authorized to query the requested data"
    [confirmed], or 422 for the parameter `product`. Any other refusal says nothing about the product.

    If the partition was never read, the tap skips it with a warning, because most accounts have few products. If it
    was read before, it fails, because its rows would be missing from now on.
    """

    advice = (
        "The account may not have this product, or the key may not read this account. "
        "Deselect the stream, or ask Vonage to enable the product."
    )


class AccountsUnavailableError(ProductUnavailableError):
    """The Subaccounts API is not enabled. It answered HTTP 403, so the tap skips the stream with a warning."""

    advice = "The Subaccounts API may not be enabled. Deselect the stream, or ask Vonage to enable the API."


class SubaccountsRefusedError(RequestRejectedError):
    """The API refuses a report with sub-accounts (HTTP 403), although the account has the product [reported once]."""

    advice = (
        "The key may not request reports with sub-accounts. Set subaccounts to each; what was read before still counts."
    )


class AccessDeniedError(RequestRejectedError):
    """The API refuses the account or the key: HTTP 402 or 403, such as ``Low balance``. Nothing of it is skipped."""

    advice = (
        "The refusal is not about a product. Check the account's balance, status and permissions in the Vonage "
        "dashboard."
    )


class CredentialsRevokedError(AccessDeniedError):
    """The API no longer accepts the credentials: HTTP 401, twice, and not because of a product."""

    advice = "The credentials may have been changed or revoked during the run. Check api_key and api_secret."


class WindowInFutureError(RequestRejectedError):
    """A window ends in the future on the API's clock, even after the tap shortened it once."""

    advice = "Set end_date to an earlier time. Without end_date, check this machine's clock."


# Retriable: leaves the window out after the last try


class RetriableApiError(ApiError):
    """The API gave no usable answer.

    The connection broke, the answer was HTTP 408, 429 or 5xx, or its body was truncated, too large or not JSON. The
    tap tries up to eight times within 15 minutes, with a warning before each retry. After the last try, it leaves the
    window out.

    Attributes:
        reason: What was wrong with the last answer.
        retry_after: Seconds that the API asked to wait (`Retry-After`); 0 if it did not.
        may_have_worked: False if the request was certainly not served, as with HTTP 401.
    """

    leaves_gap = True
    advice = "The next run tries again. If this persists, contact Vonage support with the time of this message."

    def __init__(self, reason: str, *, retry_after: float = 0, may_have_worked: bool = True) -> None:
        super().__init__(f"{reason}. {self.advice}")
        self.reason = reason
        self.retry_after = retry_after
        self.may_have_worked = may_have_worked


class RateLimitedError(RetriableApiError):
    """The rate limit is exhausted. The API answered HTTP 429, even after retries."""

    advice = (
        "Another program may use the same API key: lower max_requests_per_second and max_report_requests_per_second "
        "in each, so that the sums stay within the limits. The next run tries again."
    )


class ForeignAnswerError(RetriableApiError):
    """Something else answered in the API's place.

    The answer was HTTP 4xx without the API's problem body (RFC 7807), so a firewall, proxy or gateway sent it.

    Attributes:
        status: The HTTP status.
    """

    advice = (
        "A firewall, proxy or gateway may have answered in the API's place: check api_url and the network, and for "
        "HTTP 401 also api_key and api_secret. The next run tries again."
    )

    def __init__(self, status: int, reason: str, *, retry_after: float = 0) -> None:
        super().__init__(reason, retry_after=retry_after, may_have_worked=False)
        self.status = status


class UndecodableBodyError(RetriableApiError):
    """The API sent a body that cannot be decoded.

    The body is complete, but it is not JSON even when read leniently, or it is nested too deeply. The tap requests it
    once more, in case it was damaged on the way.
    """

    advice = "The same body came twice. If this persists in the next run, contact Vonage support with the time range."


class ConnectionFailedError(RetriableApiError):
    """No connection could be established. The connection or its TLS handshake was refused, was cut or timed out."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, may_have_worked=False)


class ConnectionRefusedByHostError(ConnectionFailedError):
    """The host refused the connection. The address is probably wrong, so the tap tries only a few times."""


# Of a partition: reports, pages and records


class ReportLimitError(ApiError):
    """The API accepts no more reports.

    The answer was HTTP 429, for the request rate or for concurrent reports. The tap continues with fewer concurrent
    reports. The partition ends if the API accepts no report at all for `report_timeout_minutes`.

    Attributes:
        retry_after: Seconds that the API asked to wait (`Retry-After`); 0 if it did not.
    """

    def __init__(self, retry_after: float) -> None:
        super().__init__(
            "The API accepts no more reports at the moment (HTTP 429). The next run requests this one again."
        )
        self.retry_after = retry_after


class ReportError(ApiError):
    """A report could not be read.

    It failed, timed out, or its file is unusable. A report that is not ready stays in the state, and the next run
    resumes it. The tap emits no row of a file that fails a check.
    """

    leaves_gap = True


class ArchiveError(ApiError):
    """A downloaded file is corrupt or does not match its report.

    The tap downloads it again, and if that does not help, reads the window by pages. It does not request (and pay for)
    another report.
    """

    leaves_gap = True


class PaginationError(ApiError):
    """The pages of a window contradict each other. For example, a cursor is missing or repeated."""

    leaves_gap = True


class PrefetchStorageError(ApiError):
    """Prefetched pages cannot be stored on disk."""

    def __init__(self, reason: str | None) -> None:
        super().__init__(
            f"Prefetched pages cannot be stored ({reason}). Check that the folder for temporary files (TMPDIR) exists, "
            "is writable and has space, or set max_concurrent_requests to 1. The next run resumes from the last state."
        )


class StreamMapError(ApiError):
    """A stream map or flattening fails on a row. The partition ends, and the next run refetches its rows."""

    def __init__(self, setting: str, stream: str, name: str | None, reason: str) -> None:
        """Compose the message without the expression, which may contain a value.

        Args:
            setting: The setting that changes records.
            stream: The stream.
            name: The property whose expression fails, in a form that is safe to show; None if it is not known.
            reason: The type of the failure.
        """
        where = f", in {name}" if name else ""
        super().__init__(
            f"The setting {setting} cannot be applied to a row of {stream}{where} ({reason}). Correct it: every column "
            "but the key may be null, and prices are decimals. The next run reads the row again."
        )
