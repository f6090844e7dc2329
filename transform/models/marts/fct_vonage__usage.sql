{{ config(materialized = 'view') }}

with usage as (
    select * from {{ ref('int_vonage__usage') }}
),

status_classes as (
    select * from {{ vonage_reports.seed('vonage_status_classes') }}
),

-- A row is left out only if the other one carries its price: same account, same currency, and a price where it has one.
same_message as (
    select
        pair.usage_key,
        pair.counted_in,
        pair.is_certain and pair.counted_in = 'MESSAGES' as is_in_messages,
        pair.is_certain
        and usage.account_id is not distinct from other.account_id
        and (
            coalesce(usage.total_price, 0) = 0
            or (coalesce(other.total_price, 0) <> 0 and usage.currency is not distinct from other.currency)
        ) as is_certain
    from {{ ref('int_vonage__same_message') }} as pair
    inner join usage on pair.usage_key = usage.usage_key
    left join usage as other on pair.counted_as = other.usage_key
)

select
    usage.usage_key,
    usage.record_id,
    usage.stream,
    usage.product,
    usage.account_id,
    usage.direction,
    usage.started_at,
    usage.finalized_at,
    {{ vonage_reports.local_day('usage.started_at') }} as usage_date,
    usage.status,
    case
        when status_classes.status_class is not null then status_classes.status_class
        when usage.status is null and usage.direction = 'inbound' then 'received'
        else 'unknown'
    end as status_class,
    usage.country,
    usage.network,
    usage.network_name,
    usage.channel,
    usage.client_ref,
    usage.account_ref,
    usage.error_code,
    usage.latency_ms,
    usage.quantity,
    usage.unit,
    usage.unit_price,
    usage.total_price,
    coalesce(usage.currency, nullif('{{ var('vonage_default_currency') }}', '')) as currency,
    case when same_message.is_certain then same_message.counted_in end as counted_in,
    case when not same_message.is_certain then same_message.counted_in end as may_be_in,
    {% if var('vonage_count_once') -%}
    coalesce(not same_message.is_certain, true)
    {%- else -%}
    true
    {%- endif %} as is_counted,
    {% if var('vonage_count_once') -%}
    coalesce(not same_message.is_in_messages, true)
    {%- else -%}
    true
    {%- endif %} as is_outcome_counted,
    usage.loaded_at
from usage
left join status_classes
    on usage.stream = status_classes.stream
    and lower(usage.status) = status_classes.status
left join same_message
    on usage.usage_key = same_message.usage_key
