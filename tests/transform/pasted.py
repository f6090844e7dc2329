"""The queries of docs/answers.md, each with the mart that says the same."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.transform.staging import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE = ROOT / "docs" / "answers.md"
_BLOCK = re.compile(r"^```\{code-block\} (sql|json)\n:name: (\S+)\n\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = {(language, name): text for language, name, text in _BLOCK.findall(PAGE.read_text("utf-8"))}
QUERIES: Mapping[str, str] = {name: text for (language, name), text in BLOCKS.items() if language == "sql"}
MARTS: Mapping[str, str] = {
    "daily": """
        select usage_date, product, currency, sum(records), sum(quantity), sum(total_price)
        from vonage__daily_usage group by 1, 2, 3
    """,
    "delivery": """
        select product, country, count(*),
            round(100.0 * count(*) filter (where status_class = 'succeeded') / count(*), 1)
        from fct_vonage__usage
        where stream in ('sms', 'messages') and direction = 'outbound' and status_class in ('succeeded', 'failed')
        group by 1, 2
    """,
    "latency": """
        select product, channel, country, count(*), percentile_cont(0.5) within group (order by latency_ms),
            percentile_cont(0.95) within group (order by latency_ms)
        from fct_vonage__usage
        where stream in ('sms', 'messages') and direction = 'outbound' and status_class = 'succeeded'
        group by 1, 2, 3
    """,
    "billing": """
        select cast(date_trunc('month', usage_date) as date), account_id, product, currency, count(*), sum(total_price)
        from fct_vonage__usage where total_price is not null group by 1, 2, 3, 4
    """,
    "invoice": """
        select month, currency, product, units, price, sum(price) over (partition by month, currency) from (
            select cast(date_trunc('month', usage_date) as date) as month, currency, product,
                sum(quantity) filter (where total_price > 0) as units, sum(total_price) as price
            from fct_vonage__usage where total_price is not null group by 1, 2, 3
        ) as months
    """,
    "lost": """
        select month, product, currency, sum(records), sum(lost_price) from vonage__spend_lost group by 1, 2, 3
    """,
    "pulls": """
        select month, product, currency, sum(requests), sum(rows_pulled), sum(price)
        from vonage__extraction_cost group by 1, 2, 3
    """,
    "newest": """
        select product, records, newest_row_at from vonage__freshness where records > 0
    """,
    "twice": """
        select substr(usage_key, 5), substr(counted_as, 10) from int_vonage__same_message
        where usage_key like 'sms:%' and counted_as like 'messages:%'
    """,
}
"""For each query, the same of the marts. Columns that a query has beside these are not compared."""
