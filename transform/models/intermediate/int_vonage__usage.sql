{{ config(
    materialized = 'incremental',
    unique_key = 'usage_key',
    incremental_strategy = 'delete+insert',
    on_schema_change = 'append_new_columns',
    indexes = [{'columns': ['usage_key'], 'unique': true}] if target.type == 'postgres' else [],
    post_hook = vonage_reports.analyze(),
) }}

{% set columns = vonage_reports.usage_columns() %}
{% set since = vonage_reports.loaded_since(columns.keys() | list + ['quantity', 'unit', 'loaded_at', 'loaded_from']) %}

with usage as (
    {%- for product in vonage_reports.loaded_products() %}
    select
        '{{ product.stream }}' as stream,
        '{{ product.product }}' as product,
        id as record_id,
        account_id,
        {{ product.at }} as started_at,
        {%- for column, kind in columns.items() %}
        cast({{ product.get(column, 'null') }} as {{ vonage_reports.type_of(kind) }}) as {{ column }},
        {%- endfor %}
        cast({{ product.get('quantity', '1') }} as {{ vonage_reports.type_of('integer') }}) as quantity,
        '{{ product.unit }}' as unit,
        loaded_at,
        loaded_from
    from {{ ref('stg_vonage__' ~ product.stream) }}
    {%- if product.stream in since %}
    where loaded_at is null
        or loaded_at >= timestamp '{{ since[product.stream] }}'
        {%- if vonage_reports.layout() == 'parquet' %}
        -- A file may come later than files with newer names.
        or loaded_from not in (
            select loaded_from from {{ this }} where stream = '{{ product.stream }}' and loaded_from is not null
        )
        {%- endif %}
    {%- endif %}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
)

select
    stream || ':' || record_id as usage_key,
    *
from usage
