select
    cast(date_trunc('month', usage_date) as date) as month,
    product,
    coalesce(counted_in, may_be_in) as other_product,
    counted_in is not null as is_certain,
    currency,
    count(*) as records,
    coalesce(sum(total_price), 0) as total_price
from {{ ref('fct_vonage__usage') }}
where coalesce(counted_in, may_be_in) is not null
group by 1, 2, 3, 4, 5
