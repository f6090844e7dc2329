with bounds as (
    select
        min({{ vonage_reports.local_day('started_at') }}) as first_day,
        max({{ vonage_reports.local_day('started_at') }}) as last_day
    from {{ ref('int_vonage__usage') }}
),

days as (
    select cast(day as date) as date_day
    from (select {{ vonage_reports.days('first_day', 'last_day') }} as day from bounds) as generated
)

select
    date_day,
    cast(date_trunc('month', date_day) as date) as month,
    cast(date_trunc('week', date_day) as date) as week,
    cast(extract(isodow from date_day) as integer) as day_of_week,
    extract(isodow from date_day) > 5 as is_weekend,
    '{{ var('vonage_time_zone') }}' as time_zone
from days
