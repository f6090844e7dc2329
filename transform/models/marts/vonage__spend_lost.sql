select
    cast(date_trunc('month', usage_date) as date) as month,
    product,
    account_id,
    country,
    status,
    error_code,
    currency,
    count(*) as records,
    sum(total_price) as lost_price
from {{ ref('fct_vonage__usage') }}
where status_class = 'failed'
    and total_price > 0
    and is_counted
group by 1, 2, 3, 4, 5, 6, 7
