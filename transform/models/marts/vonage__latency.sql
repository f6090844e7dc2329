select
    cast(date_trunc('month', usage_date) as date) as month,
    product,
    channel,
    country,
    count(*) as records,
    percentile_cont(0.5) within group (order by cast(latency_ms as double precision)) as p50_ms,
    percentile_cont(0.95) within group (order by cast(latency_ms as double precision)) as p95_ms
from {{ ref('fct_vonage__usage') }}
where stream in ('sms', 'messages')
    and direction = 'outbound'
    and status_class = 'succeeded'
    and is_outcome_counted
    and latency_ms is not null
group by 1, 2, 3, 4
