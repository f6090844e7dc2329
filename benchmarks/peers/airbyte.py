# /// script
# requires-python = ">=3.10,<3.15"
# dependencies = ["airbyte-cdk==7.39.1"]
# ///
"""The peer Airbyte: its Python CDK (airbyte-cdk 7.39.1) with the manifest `airbyte.yaml`, all declarative.

How it is configured:

* A `DatetimeBasedCursor` cuts the range into slices of a day. They end a millisecond early, because the CDK's slices
  are closed and the API's end is exclusive; its times are whole seconds, so nothing falls into the gap.
* The page token of `CursorPagination` is an object of `cursor` and `iv`, which the request's parameters take apart. The
  other parameters are sent with every page, so that the next link is not needed.
* Ten workers read slices at once (`--workers`). A 429 waits for `Retry-After` (and the CDK's own second), and is tried
  20 times, because the default of five can run out when ten workers wait for the same second.
* `--budget` adds the CDK's `HTTPAPIBudget`: ten calls in a moving second.

The source's messages are consumed in the same process and only the records are written, which spares it the
serialisation of its protocol.

What it cannot do:

* Without `--budget` it has no pace: with ten workers about every third answer is a 429. With it about every eighth is,
  because the budget counts when a call leaves and the API when it arrives.
* A slice is read by one worker, so a range of few days uses few of the ten.
* A slice that was cut off starts over, because its state is of whole slices.
* After a TRUNCATED answer without a `cursor` it reads the first page again, for ever.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import orjson
import yaml
from airbyte_cdk.models import (
    ConfiguredAirbyteCatalog,
    ConfiguredAirbyteStream,
    DestinationSyncMode,
    SyncMode,
    Type,
)
from airbyte_cdk.sources.declarative.concurrent_declarative_source import ConcurrentDeclarativeSource


def main() -> None:
    """Read the range into a file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("url", "key", "secret", "start", "end", "output"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--workers", type=int, default=10)
    parser.add_argument("--budget", action="store_true", help="with the CDK's own call budget")
    options = parser.parse_args()

    manifest = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text("utf-8"))
    if not options.budget:
        del manifest["api_budget"]
    config = vars(options)
    source = ConcurrentDeclarativeSource(config=config, source_config=manifest)
    logger = logging.getLogger("airbyte")
    catalog = ConfiguredAirbyteCatalog(
        streams=[
            ConfiguredAirbyteStream(
                stream=stream, sync_mode=SyncMode.incremental, destination_sync_mode=DestinationSyncMode.append
            )
            for stream in source.discover(logger, config).streams
        ]
    )
    with Path(options.output).open("wb") as file:
        for message in source.read(logger, config, catalog):
            if message.type is Type.RECORD:
                file.write(orjson.dumps(message.record.data, option=orjson.OPT_APPEND_NEWLINE))


if __name__ == "__main__":
    main()
