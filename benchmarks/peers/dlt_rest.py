# /// script
# requires-python = ">=3.11,<3.15"
# dependencies = ["dlt[filesystem]==1.31.0"]
# ///
"""The peer dlt (1.31.0): its source `rest_api` into JSON lines by the destination `filesystem`.

The lines are in the folder `OUTPUT/reports/sms/`, which is where dlt puts them.

How it is configured:

* A resource for each day, all into the table `sms`, extracted in parallel (`parallelized=True`). A dependent resource
  over a list of days, which is parallel too and as fast, holds all pages of a day in memory before it passes them on.
* The built-in `JSONResponseCursorPaginator` keeps the parameters of the first request but carries one token, so the
  `iv` needs a subclass. `JSONLinkPaginator` would follow the next link as it is, which may lack the dates.
* Five workers, the default (`--workers`). dlt waits for `Retry-After` by itself; it tries 20 times, because its default
  of five can run out when several workers wait for the same second.
* Intermediate files are not compressed, which costs less time. No telemetry.

What it cannot do:

* It has no limit of requests in a second: where an answer takes 0.2 s, workers beyond the third bring 429s and hardly
  a page more (a quarter to a third of the answers with five, half with ten).
* A TRUNCATED answer without a `cursor` ends the day as if it were complete, and the run ends well.
* It does not overlap: nothing is normalised before everything is extracted, nothing written before all is normalised.
* A null is left out of its JSON lines.
* A run that was cut off while it extracted starts over.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dlt
from dlt.sources.helpers.requests import Client
from dlt.sources.helpers.rest_client.paginators import JSONResponseCursorPaginator
from dlt.sources.rest_api import rest_api_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlt.sources.rest_api import RESTAPIConfig
    from requests import Request, Response

DAY = timedelta(days=1)


class CursorAndIvPaginator(JSONResponseCursorPaginator):
    """The built-in paginator, with the `iv` that goes with the cursor."""

    def update_state(self, response: Response, data: list[Any] | None = None) -> None:
        """Take the `iv` from an answer."""
        super().update_state(response, data)
        self.iv = response.json().get("iv")

    def update_request(self, request: Request) -> None:
        """Add it to the next request."""
        super().update_request(request)
        request.params["iv"] = self.iv


def windows(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The range in days."""
    while start < end:
        yield start, min(start + DAY, end)
        start += DAY


def main() -> None:
    """Read the range into a folder."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("url", "key", "secret", "output"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("start", "end"):
        parser.add_argument(f"--{name}", required=True, type=datetime.fromisoformat)
    parser.add_argument("--workers", type=int, default=5)
    options = parser.parse_args()

    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["DATA_WRITER__DISABLE_COMPRESSION"] = "true"
    os.environ["EXTRACT__WORKERS"] = str(options.workers)
    path = "v2/reports/records"
    config: RESTAPIConfig = {
        "client": {
            "base_url": options.url,
            "auth": {"type": "http_basic", "username": options.key, "password": options.secret},
            "paginator": CursorAndIvPaginator(cursor_path="cursor", cursor_param="cursor"),
            "session": Client(raise_for_status=False, request_max_attempts=20).session,
        },
        "resource_defaults": {
            "table_name": "sms",
            "primary_key": "id",
            "write_disposition": "append",
            "endpoint": {
                "data_selector": "records",
                "params": {"product": "SMS", "account_id": options.key, "direction": "outbound"},
            },
        },
        "resources": [
            {
                "name": f"sms_{start:%Y%m%d_%H%M%S}",
                "endpoint": {
                    "path": path,
                    "params": {"date_start": start.isoformat(), "date_end": end.isoformat()},
                },
            }
            for start, end in windows(options.start, options.end)
        ],
    }
    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline(
            "vonage",
            pipelines_dir=folder,
            destination=dlt.destinations.filesystem(Path(options.output).absolute().as_uri()),
            dataset_name="reports",
        )
        pipeline.run(rest_api_source(config, parallelized=True), loader_file_format="jsonl")


if __name__ == "__main__":
    main()
