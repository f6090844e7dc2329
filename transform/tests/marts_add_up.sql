-- Every mart of money has the whole price of the fact, in each currency.
with fact as (
    select
        coalesce(currency, '') as currency,
        count(*) as records,
        count(*) filter (where is_counted) as counted_records,
        coalesce(sum(total_price), 0) as total_price,
        coalesce(sum(total_price) filter (where is_counted), 0) as counted_price,
        coalesce(sum(total_price) filter (where status_class = 'failed' and is_counted), 0) as lost_price
    from {{ ref('fct_vonage__usage') }}
    group by 1
),

daily as (
    select
        coalesce(currency, '') as currency,
        sum(records) as records,
        sum(counted_records) as counted_records,
        sum(total_price) as total_price,
        sum(counted_price) as counted_price
    from {{ ref('vonage__daily_usage') }}
    group by 1
),

billing as (
    select coalesce(currency, '') as currency, sum(records) as counted_records, sum(cost) as counted_price
    from {{ ref('vonage__customer_billing') }}
    group by 1
),

lost as (
    select coalesce(currency, '') as currency, sum(lost_price) as lost_price
    from {{ ref('vonage__spend_lost') }}
    group by 1
)

select fact.*
from fact
left join daily on fact.currency = daily.currency
left join billing on fact.currency = billing.currency
left join lost on fact.currency = lost.currency
where fact.records is distinct from daily.records
    or fact.counted_records is distinct from daily.counted_records
    or fact.total_price is distinct from daily.total_price
    or fact.counted_price is distinct from daily.counted_price
    or fact.counted_records is distinct from billing.counted_records
    -- Bills round each line to ten decimals before the markup.
    or abs(fact.counted_price - coalesce(billing.counted_price, 0)) > 0.000001
    or fact.lost_price <> coalesce(lost.lost_price, 0)
