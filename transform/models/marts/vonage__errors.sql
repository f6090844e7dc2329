select
    cast(date_trunc('month', usage_date) as date) as month,
    product,
    direction,
    country,
    status,
    error_code,
    count(*) as records
from {{ ref('fct_vonage__usage') }}
where status_class = 'failed' and is_outcome_counted
group by 1, 2, 3, 4, 5, 6
