{%- set is_loaded = 'reports_usage' in var('vonage_streams') -%}

with pulls as (
    {% if is_loaded -%}
    select
        cast(date_trunc('month', {{ vonage_reports.local_day('date_received') }}) as date) as month,
        requested_product as product,
        job_type,
        currency,
        count(*) as requests,
        coalesce(sum(items_written), 0) as rows_pulled,
        coalesce(sum(total_price) filter (where is_charged), 0) as price
    from {{ ref('stg_vonage__reports_usage') }}
    group by 1, 2, 3, 4
    {%- else -%}
    {{ vonage_reports.no_rows({'month': 'timestamp', 'product': 'text', 'job_type': 'text', 'currency': 'text', 'requests': 'integer', 'rows_pulled': 'integer', 'price': 'money'}) }}
    {%- endif %}
),

held as (
    select product, count(*) as records
    from {{ ref('int_vonage__usage') }}
    group by product
),

pulled as (
    select product, sum(rows_pulled) as rows_pulled
    from pulls
    group by product
)

select
    pulls.month,
    pulls.product,
    pulls.job_type,
    pulls.currency,
    pulls.requests,
    pulls.rows_pulled,
    pulls.price,
    pulled.rows_pulled as product_rows_pulled,
    coalesce(held.records, 0) as product_rows_held,
    -- Over all months, for a row may be refetched in another month than its own.
    case
        when pulled.rows_pulled > 0
            then greatest(1 - cast(coalesce(held.records, 0) as double precision) / pulled.rows_pulled, 0)
    end as product_refetched_share
from pulls
left join pulled on pulls.product = pulled.product
left join held on pulls.product = held.product
