"""What can go wrong, as types; each message says what failed, why, and what to do.

No message carries a secret, a phone number, a body or the value of a setting. What the API says of an
error is quoted by its title and the names of the parameters it blames, never by its free text, which may
repeat a value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


class TapError(Exception):
    """Something the user can act on: the message is one line and complete without a traceback."""


class SettingsError(TapError):
    """The settings cannot be used.

    Everything that is wrong is told at once, a line each, by the names of the settings and never by their values. What
    can be seen without the API is told before anything is asked of it.

    Attributes:
        problems: One line for each thing that is wrong.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class StateError(TapError):
    """The state given with `--state` is not one that this tap, or a tap like it, has written.

    Nothing was read. Half a state would have to be guessed at, and a wrong guess loses rows.
    """


class CatalogError(TapError):
    """The catalog given with `--catalog` does not fit this tap. Nothing was read."""


class SyncFailedError(TapError):
    """At least one partition could not be read; the summary before it says which, and this error why.

    What the others have read is written and in the state. The next run reads what is missing.
    """


class OutputError(TapError):
    """Standard output does not take what the tap writes: it is closed, or the disk behind it is full."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"Standard output cannot be written ({why}). See that it is open and that there is room where it goes; "
            "the next run goes on from the last state that arrived there."
        )


class BrokenPipeToTargetError(TapError):
    """The target has closed the pipe, as a rule because it has failed itself. Look at its log first."""


class ApiError(TapError):
    """The API did not give what it was asked for: the partition that asked ends, the others go on."""


class FatalApiError(TapError):
    """The API cannot be used at all. Not an `ApiError`, which ends one partition: no other needs to be tried."""


class CredentialsError(FatalApiError):
    """The API knows no such key and secret: HTTP 401 before any request has succeeded."""


class UnreachableError(FatalApiError):
    """The API gave no answer at all, also after retries: the address, the network, a proxy or a certificate."""


class RequestRejectedError(ApiError):
    """The API understood a request and will not serve it: HTTP 4xx that no retry changes.

    Attributes:
        status: The HTTP status.
        title: The title of the API's problem body, or the reason phrase where there is none.
        parameters: The names of the parameters that the API blames.
        answered_at: Vonage's time of the answer, from its `Date` header.
    """

    advice = "Check the setting that the parameter comes from; if it is right, the API's rules have changed."

    def __init__(
        self, status: int, title: str, parameters: Sequence[str] = (), answered_at: datetime | None = None
    ) -> None:
        self.status = status
        self.title = title
        self.parameters = tuple(parameters)
        self.answered_at = answered_at
        blamed = f" (parameters: {', '.join(self.parameters)})" if self.parameters else ""
        super().__init__(f"HTTP {status} {title}{blamed}. {self.advice}")


class UnexpectedRedirectError(RequestRejectedError):
    """The API answered with a redirect, and none is followed: the credentials are for `api_url` alone."""

    advice = "Redirects are not followed, for the credentials are for api_url alone. Check that address."


class ProductUnavailableError(RequestRejectedError):
    """The product is not there for this account: HTTP 401 not provisioned, 403, or 422 unknown product.

    A partition that was never read is skipped with a warning, for most accounts have few of the products. One that was
    read before fails: its rows would be missing from now on.
    """

    advice = (
        "The account may not have this product, or the key may not read this account: "
        "deselect the stream, or ask Vonage to enable it."
    )


class CredentialsRevokedError(RequestRejectedError):
    """HTTP 401 although the same credentials were accepted before, and not for want of a product."""

    advice = "The credentials may have been changed or revoked during the run: check api_key and api_secret."


class WindowInFutureError(RequestRejectedError):
    """The API found a bound of the window at or after its own clock, also after that clock was asked for."""

    advice = "Set end_date further back; where none is set, see that this machine's clock is right."


class RetriableApiError(ApiError):
    """The API answered, but not usably: HTTP 5xx or 429, a body that is cut, too large, too slow or not JSON.

    Such an answer is retried up to eight times within 15 minutes, each time with a warning, before this error ends the
    partition.

    Attributes:
        what: What was wrong with the answer.
        retry_after: Seconds the API asked to wait, from `Retry-After`; 0 where it said nothing.
    """

    def __init__(self, what: str, *, retry_after: float = 0) -> None:
        super().__init__(
            f"{what}. The window stays open and the next run reads it again; "
            "if this lasts, ask Vonage support with the time of this message."
        )
        self.what = what
        self.retry_after = retry_after


class RateLimitedError(RetriableApiError):
    """HTTP 429, also after waiting: another program may use up the key's rate. Set `max_requests_per_second` lower."""


class ReportLimitError(ApiError):
    """A report could not be asked for because of a limit: of requests a second, or of concurrent reports.

    The tap goes on with as many reports as the API has room for. It is an error when there was none at all for
    `report_timeout_minutes`.

    Attributes:
        retry_after: Seconds the API asked to wait; 0 where it said nothing.
    """

    def __init__(self, retry_after: float) -> None:
        super().__init__("The API has no room for one more report now. The next run asks again.")
        self.retry_after = retry_after


class ConnectionFailedError(RetriableApiError):
    """A connection was refused, or timed out before it was there."""


class PaginationError(ApiError):
    """The pages of a window do not add up (no cursor, a repeated cursor), so it may not count as read."""


class PrefetchStorageError(ApiError):
    """Pages that were read ahead cannot be stored."""

    def __init__(self, why: str | None) -> None:
        super().__init__(
            f"Pages that were read ahead cannot be stored ({why}). See that the folder for temporary files (TMPDIR) is "
            "there, has room and may be written to, or set max_concurrent_requests to 1; the next run goes on from the "
            "last state."
        )


class RecordError(ApiError):
    """A record came without its id, and no target could tell it from another."""


class ReportError(ApiError):
    """An asynchronous report did not lead to its rows: it failed, took too long, or its file is no good.

    A report that is not ready stays in the state, and the next run looks for it before it asks for another. No row of
    a file that fails its checks is written.
    """


class ArchiveError(ApiError):
    """A downloaded file is not the archive that was announced.

    It is downloaded again, then the report is asked for again, and then it is an error that names the report.
    """
