select
    usage_date,
    product,
    channel,
    country,
    network,
    network_name,
    count(*) as sent,
    count(*) filter (where status_class = 'succeeded') as succeeded,
    count(*) filter (where status_class = 'failed') as failed,
    count(*) filter (where status_class = 'pending') as pending,
    count(*) filter (where status_class = 'unknown') as unknown,
    count(*) filter (where lower(status) = 'read') as seen,
    count(*) filter (where status_class in ('succeeded', 'failed')) as known_outcomes
from {{ ref('fct_vonage__usage') }}
where stream in ('sms', 'messages') and direction = 'outbound' and is_outcome_counted
group by 1, 2, 3, 4, 5, 6
