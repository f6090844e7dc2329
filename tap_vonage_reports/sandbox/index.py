"""The sandbox's index page for a browser: how to point a tool at it, its accounts, endpoints and faults."""

from __future__ import annotations

from html import escape
from string import Template
from typing import TYPE_CHECKING

from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.sandbox.faults import ABOUT, GROUPS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tap_vonage_reports.sandbox.world import World

_PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Vonage Reports sandbox</title>
<style>
  :root { color-scheme: light dark; }
  body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 56rem; padding: 0 1rem; }
  table { border-collapse: collapse; display: block; overflow-x: auto; }
  th, td { border-bottom: 1px solid color-mix(in srgb, currentcolor 25%, transparent); padding: .3rem .8rem .3rem 0;
           text-align: left; vertical-align: top; }
  @media (min-width: 40em) { td:first-child { white-space: nowrap; } }
  pre { background: color-mix(in srgb, currentcolor 8%, transparent); overflow-x: auto; padding: .8rem; }
</style>
<h1>Vonage Reports sandbox</h1>
<p>The Vonage Reports API on this machine, with invented traffic. Its clock shows $now.</p>
<h2>Point a tool at it</h2>
<pre>$variables</pre>
<p>Any other client of the Reports API works, too. It needs this address, and HTTP Basic authentication with the key and
the secret above.</p>
<h2>Accounts</h2>
<table><tr><th>Key<th>Name<th>Currency<th>Status$accounts</table>
<h2>Endpoints</h2>
<table><tr><th>Method<th>Path$endpoints</table>
<p>Products: $products.</p>
<p>The sandbox also reports on itself: <a href="/__sandbox/requests">the requests so far</a>, and the rows and prices
of a time range at <code>/__sandbox/summary?date_start=...&amp;date_end=...</code></p>
<h2>Faults</h2>
<p>Switch on a fault with <code>--fault NAME</code> or <code>--fault NAME=VALUE</code> when you start the sandbox.</p>
<table><tr><th>Name<th>Effect$faults</table>
</html>
""")


def page(world: World, address: str, endpoints: Iterable[tuple[str, str]]) -> str:
    """Return the page as HTML.

    Args:
        world: The accounts, the clock and the faults.
        address: Where the sandbox listens.
        endpoints: Method and path of each endpoint.
    """
    accounts = world.accounts
    variables = {"API_URL": address.rstrip("/"), "API_KEY": accounts.primary.key, "API_SECRET": accounts.secret}
    return _PAGE.substitute(
        now=escape(f"{world.now():%Y-%m-%d %H:%M:%S} UTC"),
        variables=escape(
            "\n".join(f"export TAP_VONAGE_REPORTS_{name}={value}" for name, value in variables.items())
            + "\ntap-vonage-reports --config ENV --plan"
        ),
        accounts=_rows(
            (account.key, account.name, account.currency, "suspended" if account.suspended else "active")
            for account in accounts
        ),
        endpoints=_rows(dict.fromkeys(endpoints)),
        products=escape(", ".join(product.name for product in PRODUCTS.values())),
        faults="".join(
            (f"\n<tr><th colspan=2>{escape(GROUPS[fault].capitalize())}" if fault in GROUPS else "")
            + _rows([(f"{fault.value} (on)" if world.faults.rule(fault) else fault.value, about.description)])
            for fault, about in ABOUT.items()
        ),
    )


def _rows(rows: Iterable[Iterable[str]]) -> str:
    return "".join(f"\n<tr>{''.join(f'<td>{escape(cell)}' for cell in row)}" for row in rows)
