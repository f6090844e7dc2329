"""The class `Sandbox`: accounts, traffic, clock, faults and the server in one object, for tests and demos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_vonage_reports.sandbox.accounts import DEMO_KEY, DEMO_SECRET, Accounts, primary, subaccounts
from tap_vonage_reports.sandbox.app import Api
from tap_vonage_reports.sandbox.clock import Clock
from tap_vonage_reports.sandbox.exchange import (
    MAX_REPORTS,
    PAGE_SIZE,
    REALISTIC_PENDING_SECONDS,
    REALISTIC_ROWS_PER_SECOND,
    ROWS_PER_SECOND,
    Options,
)
from tap_vonage_reports.sandbox.faults import Fault, Faults
from tap_vonage_reports.sandbox.server import Connections, Server
from tap_vonage_reports.sandbox.world import Row, Rows, World

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from types import TracebackType

    from typing_extensions import Self

    from tap_vonage_reports.sandbox.journal import Journal


class Sandbox:
    """The API on a loopback port, for the duration of a `with` block.

    Attributes:
        api_key: The primary account's key.
        api_secret: Its secret.
        accounts: All accounts.
        clock: The API's clock.
        faults: The faults that are switched on.
        options: Options that can change while it runs: page size, latency, time to generate reports.
        app: The API as an ASGI application, for clients that need no port.
        requests: What was asked.
    """

    def __init__(  # noqa: PLR0913 - each one is a documented choice with a default
        self,
        *,
        seed: str = "sandbox",
        api_key: str = DEMO_KEY,
        api_secret: str = DEMO_SECRET,
        subaccount_keys: Iterable[str] = (),
        accounts: Accounts | None = None,
        rows: Rows | None = None,
        scale: float = 1.0,
        clock: Clock | datetime | str | None = None,
        faults: Faults | Iterable[Fault | str] = (),
        page_size: int = PAGE_SIZE,
        latency: float = 0.0,
        realistic: bool = False,
        generation_seconds: float | None = None,
        polls: int | None = None,
        max_reports: int = MAX_REPORTS,
        callback_hosts: Iterable[str] = (),
        port: int = 0,
    ) -> None:
        """Set up the sandbox.

        Args:
            seed: What everything is made of; the same seed has the same rows and reads the same cursors.
            api_key: The primary account's key.
            api_secret: Its secret.
            subaccount_keys: Keys of sub-accounts.
            accounts: All accounts, instead of the three above.
            rows: How many rows there are: by stream, ``stream/direction``, ``stream/direction/account``
                or ``*``, rows on each UTC day as a number, or a `Daily` or `Within`; or a callable of
                (stream, account, direction). Realistic volumes where it says nothing.
            scale: Factor on the realistic volumes.
            clock: A clock, or the moment at which it stands still; real time if left out.
            faults: Faults to switch on at once.
            page_size: Most rows of a page.
            latency: Seconds that each answer takes longer.
            realistic: Whether reports take as long as the real ones: seven minutes for a million rows
                (practically no time otherwise).
            generation_seconds: How long each report takes, whatever its size.
            polls: At which status request a report is final, whatever the time; see `Options`.
            max_reports: Unfinished reports that an account may have.
            callback_hosts: Hosts that callbacks of reports may go to besides loopback addresses.
            port: The port; 0 takes any free one.
        """
        self.accounts = accounts or Accounts(primary(api_key), api_secret, subaccounts(*subaccount_keys))
        self.clock = clock if isinstance(clock, Clock) else Clock(clock)
        if isinstance(faults, Faults):
            self.faults = faults
        else:
            self.faults = Faults()
            for fault in faults:
                self.faults.on_text(fault.value if isinstance(fault, Fault) else fault)
        self.options = Options(
            page_size=page_size,
            latency=latency,
            pending_seconds=REALISTIC_PENDING_SECONDS if realistic else 0.0,
            rows_per_second=REALISTIC_ROWS_PER_SECOND if realistic else ROWS_PER_SECOND,
            generation_seconds=generation_seconds,
            polls=polls,
            max_reports=max_reports,
        )
        self._world = World(
            seed=seed, accounts=self.accounts, clock=self.clock, faults=self.faults, rows=rows, scale=scale
        )
        self._connections = Connections()
        self._api = Api(
            self._world,
            seed=seed,
            options=self.options,
            cut=self._connections.cut,
            write=self._connections.write,
            callback_hosts=callback_hosts,
        )
        self._port = port
        self._server: Server | None = None

    @property
    def api_key(self) -> str:
        """The primary account's key."""
        return self.accounts.primary.key

    @property
    def api_secret(self) -> str:
        """The primary account's secret."""
        return self.accounts.secret

    @property
    def app(self) -> Api:
        """The API as an ASGI application."""
        return self._api

    @property
    def requests(self) -> Journal:
        """The requests so far."""
        return self._api.journal

    @property
    def url(self) -> str:
        """The address of the API.

        Raises:
            RuntimeError: If the sandbox is not running.
        """
        return self._running.url

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables with which the tap reads from this sandbox."""
        return {
            "TAP_VONAGE_REPORTS_API_URL": self.url,
            "TAP_VONAGE_REPORTS_API_KEY": self.api_key,
            "TAP_VONAGE_REPORTS_API_SECRET": self.api_secret,
        }

    def expected(  # noqa: PLR0913 - the same questions as a request's
        self,
        product: str,
        account: str | None,
        direction: str | None,
        start: datetime,
        end: datetime,
        *,
        include_message: bool = False,
        show_concatenated: bool = False,
    ) -> list[Row]:
        """Return the rows of a window as they are at this moment: the truth to compare a client with.

        Args:
            product: The product, by its name or its stream's name.
            account: Key of the account; None for the primary one.
            direction: The direction; None for all that the product has.
            start: Start, inclusive.
            end: End, exclusive.
            include_message: As in a request.
            show_concatenated: As in a request.

        Returns:
            The rows as they come over the wire, newest first; numbers with a fraction as `Decimal`.
        """
        return self._world.expected(
            product,
            account or self.api_key,
            direction,
            start,
            end,
            include_message=include_message,
            show_concatenated=show_concatenated,
        )

    def summary(self, start: datetime, end: datetime) -> list[dict[str, Any]]:
        """Count and price of all rows in a window, per product, account and direction (see `World.summary`)."""
        return self._world.summary(start, end)

    @property
    def _running(self) -> Server:
        if self._server is None:
            message = "The sandbox is not running"
            raise RuntimeError(message)
        return self._server

    def start(self) -> Self:
        """Listen on the port and start to answer."""
        self._server = Server(self._api, self._connections, self._port)
        self._server.start()
        return self

    def stop(self) -> None:
        """Close the port and all connections; reports and their files are gone."""
        self._running.stop()
        self._api.reports.close()
        self._server = None

    def wait(self) -> None:
        """Wait until the sandbox is stopped."""
        self._running.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
