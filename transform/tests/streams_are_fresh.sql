{{ config(severity = 'warn', enabled = var('vonage_freshness_hours') | int > 0) }}
-- The newest load of a stream is too old. Rows of a stream may be rare; loads are not.
select stream, newest_load_at
from {{ ref('vonage__freshness') }}
where newest_load_at
    < {{ vonage_reports.utc_now() }} - interval '{{ var('vonage_freshness_hours') | int }} hours'
