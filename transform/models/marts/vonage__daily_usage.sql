select
    usage_date,
    stream,
    product,
    account_id,
    direction,
    country,
    channel,
    status_class,
    unit,
    currency,
    count(*) as records,
    sum(quantity) as quantity,
    coalesce(sum(total_price), 0) as total_price,
    count(*) filter (where is_counted) as counted_records,
    coalesce(sum(total_price) filter (where is_counted), 0) as counted_price
from {{ ref('fct_vonage__usage') }}
group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
