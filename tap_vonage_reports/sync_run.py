"""SyncRun: the start and the end of a run, including failures and signals."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from tap_vonage_reports.errors import ApiError, BrokenPipeToTargetError, FatalApiError, OutputError
from tap_vonage_reports.extract.accounts import refused_accounts
from tap_vonage_reports.summary import log_summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_vonage_reports.extract.session import SyncSession
    from tap_vonage_reports.output.channel import OutputChannel

logger = logging.getLogger(__name__)


class SyncRun:
    """A run, from the first request to the summary."""

    def __init__(
        self, session: SyncSession, output: OutputChannel, write_state: Callable[[], object] | None = None
    ) -> None:
        """Set up a run; nothing is sent or written yet.

        Args:
            session: What it reads.
            output: Where messages go, and where signals are handled.
            write_state: Writes the state as it is; None for a run that changes no state.
        """
        self._session = session
        self._output = output
        self._write_state = write_state

    def run(self, sync: Callable[[], object]) -> None:
        """Run a sync, and log the summary.

        Args:
            sync: What to do once the API has answered and accepted the credentials.

        Raises:
            SyncFailedError: A partition failed, or every selected stream was refused.
            BrokenPipeToTargetError: Nobody reads standard output any more.
            OutputError: Standard output cannot be written.
            Interrupted: A signal came; the state was handed to the target.
        """
        self.guard(partial(self._sync, sync))
        log_summary(self._session.results)
        self._session.results.raise_on_failure()

    def guard(self, work: Callable[[], object]) -> None:
        """Do work with signals handled. Write the state if it fails, and stop what runs beside the main thread.

        Raises:
            Interrupted: A signal came; the state was handed to the target.
        """
        with self._output.handle_signals():
            try:
                self._work_and_close(work)
            except BaseException:
                self._end_if_interrupted()
                raise
            self._end_if_interrupted()

    def _sync(self, sync: Callable[[], object]) -> None:
        session = self._session
        _ = session.client, session.accounts.listed
        sync()
        session.accounts.compare_all()
        session.results.refused_accounts = refused_accounts(session.settings, session.client, session.results)

    def _work_and_close(self, work: Callable[[], object]) -> None:
        try:
            work()
        except (ApiError, FatalApiError):
            self._end_if_interrupted()
            if self._write_state:
                self._write_state()
            raise
        except BaseException:
            self._end_if_interrupted()
            raise
        finally:
            self._session.close()

    def _end_if_interrupted(self) -> None:
        """End the run if a signal has arrived, whatever was raised after it. The first call writes the state.

        A signal that meets the main thread inside a lock of the standard library, for example, shows as a RuntimeError.

        Raises:
            Interrupted: A signal has arrived.
        """
        interrupted = self._output.interrupted
        if interrupted is None:
            return
        if not interrupted.arrived:
            interrupted.arrived = True
            if not self._write_state:
                raise interrupted
            try:
                self._write_state()
            except (BrokenPipeToTargetError, OutputError) as error:
                logger.warning("Interrupted. The state could not be handed to the target: %s", error)
            else:
                logger.warning(
                    "Interrupted. The state was handed to the target; the next run resumes from what the target keeps"
                )
        raise interrupted
