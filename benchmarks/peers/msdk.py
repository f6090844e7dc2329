# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tap-rest-api-msdk==1.4.2", "setuptools==80.9.0"]
# ///
"""The peer tap-rest-api-msdk (1.4.2): a Singer tap for any REST API, made of configuration alone.

It is run as a process, and its records become lines. It is of 2025 and needs Singer SDK 0.40, which imports
`pkg_resources`, so setuptools has to be one that still has it.

How it is configured:

* Paging: no style carries two tokens (`jsonpath_paginator` with `$.cursor` as parameter `cursor` is refused on page two
  for want of an `iv`). The closest is `hateoas_body` with `$._links.next.href`: it lays the parameters of the next link
  over the original ones, so that a link without dates works, and it takes neither host nor credentials from the link.
* A stream for each day, because the tap has one set of parameters for a stream and no windows.
* The schema is given, because otherwise it asks for a page of each stream to infer it from. `Retry-After` is kept.

What it cannot do:

* A next link without `iv`, as in the official samples, is a 422 on page two of the first day, and the run fails with
  1000 rows written.
* One request at a time, whatever the latency.
* The days are streams, so a target makes a table for each, and tomorrow is another configuration: no incremental run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

DAY = timedelta(days=1)
FIELDS = (
    "account_id", "message_id", "account_ref", "client_ref", "direction", "from", "to", "forced_from", "changed_from",
    "network", "network_name", "country", "country_name", "date_received", "date_finalized", "latency", "status",
    "error_code", "error_code_description", "currency", "total_price", "id", "dcs", "validity_period", "ip_address",
    "udh", "workflow_id", "tier_volume",
)  # fmt: skip


def config(options: argparse.Namespace) -> dict[str, Any]:
    """The tap's configuration: a stream for each window, because one stream has one set of parameters."""
    windows = []
    start = options.start
    while start < options.end:
        until = min(start + DAY, options.end)
        windows.append((start, until))
        start = until
    return {
        "api_url": options.url,
        "auth_method": "basic",
        "username": options.key,
        "password": options.secret,
        "path": "/v2/reports/records",
        "records_path": "$.records[*]",
        "primary_keys": ["id"],
        "params": {"product": "SMS", "account_id": options.key, "direction": "outbound"},
        "pagination_request_style": "jsonpath_paginator",
        "pagination_response_style": "hateoas_body",
        "next_page_token_path": "$._links.next.href",
        "backoff_type": "header",
        "streams": [
            {
                "name": f"sms_{start:%Y%m%d%H%M}",
                "params": {"date_start": start.isoformat(), "date_end": end.isoformat()},
                "primary_keys": ["id"],
                "schema": {"type": "object", "properties": {name: {"type": ["string", "null"]} for name in FIELDS}},
            }
            for start, end in windows
        ],
    }


def main() -> int:
    """Run the tap and keep its records.

    Returns:
        The tap's exit code.
    """
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("url", "key", "secret", "output"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("start", "end"):
        parser.add_argument(f"--{name}", required=True, type=datetime.fromisoformat)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "config.json")
        file.write_text(json.dumps(config(options)), "utf-8")
        tap = Path(sys.executable).with_name("tap-rest-api-msdk")
        with (
            subprocess.Popen([tap, "--config", file], stdout=subprocess.PIPE) as process,  # noqa: S603 - our own
            Path(options.output).open("w", encoding="utf-8") as output,
        ):
            for line in process.stdout:
                message = json.loads(line)
                if message["type"] == "RECORD":
                    output.write(json.dumps(message["record"]) + "\n")
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
