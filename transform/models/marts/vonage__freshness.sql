{#- The streams that may have rows; those that were loaded but are empty are told, too. -#}
with streams as (
    {%- for product in vonage_reports.loaded_products() %}
    select '{{ product.stream }}' as stream, '{{ product.product }}' as product
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

usage as (
    select
        stream,
        count(*) as records,
        min(started_at) as first_row_at,
        max(started_at) as newest_row_at,
        max(loaded_at) as newest_load_at
    from {{ ref('int_vonage__usage') }}
    group by stream
)

select
    streams.stream,
    streams.product,
    coalesce(usage.records, 0) as records,
    usage.first_row_at,
    usage.newest_row_at,
    usage.newest_load_at
from streams
left join usage on streams.stream = usage.stream
