-- The fact has every row of every stream, with its price.
with staged as (
    {%- for product in vonage_reports.loaded_products() %}
    select
        '{{ product.stream }}' as stream,
        count(*) as records,
        coalesce(sum({{ product.get('total_price', 'cast(null as ' ~ vonage_reports.type_of('money') ~ ')') }}), 0) as total_price
    from {{ ref('stg_vonage__' ~ product.stream) }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

counted as (
    select stream, count(*) as records, coalesce(sum(total_price), 0) as total_price
    from {{ ref('fct_vonage__usage') }}
    group by stream
)

select
    staged.stream,
    staged.records as staged_records,
    counted.records as records,
    staged.total_price as staged_total_price,
    counted.total_price
from staged
left join counted on staged.stream = counted.stream
where staged.records <> coalesce(counted.records, 0)
    or staged.total_price <> coalesce(counted.total_price, 0)
