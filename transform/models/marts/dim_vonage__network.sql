with usage as (
    select network, network_name, country, started_at
    from {{ ref('int_vonage__usage') }}
    where network is not null
),

ranked as (
    select
        network,
        network_name,
        country,
        started_at,
        -- Names and countries of a code may change: the newest one counts.
        row_number() over (
            partition by network
            order by case when network_name is null then 1 else 0 end, started_at desc, network_name, country
        ) as place
    from usage
)

select
    network,
    max(case when place = 1 then network_name end) as network_name,
    max(case when place = 1 then country end) as country,
    min(started_at) as first_used_at,
    max(started_at) as last_used_at
from ranked
group by network
