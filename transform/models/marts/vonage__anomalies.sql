with dates as (
    select date_day from {{ ref('dim_vonage__date') }}
),

usage as (
    select
        usage_date,
        product,
        account_id,
        currency,
        sum(counted_records) as records,
        sum(counted_price) as price
    from {{ ref('vonage__daily_usage') }}
    group by 1, 2, 3, 4
),

series as (
    select product, account_id, currency, min(usage_date) as first_day
    from usage
    group by 1, 2, 3
),

-- The newest day is usually not complete.
complete as (
    select
        dates.date_day as usage_date,
        series.product,
        series.account_id,
        series.currency,
        series.first_day,
        coalesce(usage.records, 0) as records,
        coalesce(usage.price, 0) as price
    from dates
    inner join series on dates.date_day >= series.first_day
    left join usage
        on dates.date_day = usage.usage_date
        and series.product = usage.product
        and coalesce(series.account_id, '') = coalesce(usage.account_id, '')
        and coalesce(series.currency, '') = coalesce(usage.currency, '')
    where dates.date_day < (select max(date_day) from dates)
),

metrics as (
    select usage_date, product, account_id, currency, first_day, 'records' as metric, cast(records as double precision) as actual
    from complete
    union all
    select usage_date, product, account_id, currency, first_day, 'price' as metric, cast(price as double precision) as actual
    from complete
),

weeks as (
    select
        today.usage_date,
        today.product,
        today.account_id,
        today.currency,
        today.metric,
        today.actual,
        earlier.actual as earlier
    from metrics as today
    inner join metrics as earlier
        on today.product = earlier.product
        and coalesce(today.account_id, '') = coalesce(earlier.account_id, '')
        and coalesce(today.currency, '') = coalesce(earlier.currency, '')
        and today.metric = earlier.metric
        and extract(isodow from today.usage_date) = extract(isodow from earlier.usage_date)
        and earlier.usage_date < today.usage_date
        and earlier.usage_date >= today.usage_date - 28
),

medians as (
    select
        usage_date,
        product,
        account_id,
        currency,
        metric,
        max(actual) as actual,
        count(*) as weeks,
        percentile_cont(0.5) within group (order by earlier) as expected
    from weeks
    group by 1, 2, 3, 4, 5
    having count(*) = 4
),

deviations as (
    select
        medians.usage_date,
        medians.product,
        medians.account_id,
        medians.currency,
        medians.metric,
        medians.actual,
        medians.expected,
        -- The median of the absolute deviations, made comparable with a standard deviation.
        1.4826 * percentile_cont(0.5) within group (order by abs(weeks.earlier - medians.expected)) as deviation
    from medians
    inner join weeks
        on medians.usage_date = weeks.usage_date
        and medians.product = weeks.product
        and coalesce(medians.account_id, '') = coalesce(weeks.account_id, '')
        and coalesce(medians.currency, '') = coalesce(weeks.currency, '')
        and medians.metric = weeks.metric
    group by 1, 2, 3, 4, 5, 6, 7
)

select
    usage_date,
    product,
    account_id,
    currency,
    metric,
    actual,
    expected,
    deviation,
    actual - expected as difference,
    abs(actual - expected) > {{ var('vonage_anomaly_deviations') }} * deviation
    and abs(actual - expected) > {{ var('vonage_anomaly_share') }} * expected
    and abs(actual - expected)
    >= case when metric = 'records' then {{ var('vonage_anomaly_records') }} else {{ var('vonage_anomaly_price') }} end
        as is_anomaly
from deviations
