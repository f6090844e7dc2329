{%- set streams = var('vonage_streams') -%}
{%- set sender = adapter.quote('from') -%}
{%- set recipient = adapter.quote('to') -%}

with sent as (
    {% for stream in ['sms', 'messages'] if stream in streams -%}
    select
        '{{ stream }}' as stream,
        count(*) as records,
        count(*) filter (where {{ vonage_reports.is_hidden(sender) }} or {{ recipient }} is null) as without_people,
        count(*) filter (
            where {{ vonage_reports.is_hashed('client_ref') }} or (client_ref is null and {{ sender }} is null)
        ) as without_reference,
        count(client_ref) as references_found
    from {{ ref('stg_vonage__' ~ stream) }}
    where direction = 'outbound' {{- " and provider = 'sms'" if stream == 'messages' }}
    {{ 'union all' if not loop.last }}
    {% else -%}
    {{ vonage_reports.no_rows({'stream': 'text', 'records': 'integer', 'without_people': 'integer', 'without_reference': 'integer', 'references_found': 'integer'}) }}
    {% endfor %}
),

verified as (
    {% for stream in ['verify_v2', 'verify_api'] if stream in streams -%}
    select count(*) as records from {{ ref('stg_vonage__' ~ stream) }} where sms_event_count > 0
    {{ 'union all' if not loop.last }}
    {% else -%}
    {{ vonage_reports.no_rows({'records': 'integer'}) }}
    {% endfor %}
),

pairs as (
    select
        stream,
        'VERIFY' as other_product,
        records,
        without_people as hidden_records,
        'Senders or recipients' as hidden
    from sent
    where (select sum(records) from verified) > 0
    union all
    select
        sms.stream,
        'MESSAGES' as other_product,
        sms.records,
        -- The Messages API gives every SMS a client_ref: if none has one, they were not loaded.
        case when sms.references_found = 0 then sms.records else sms.without_reference end as hidden_records,
        'References (client_ref)' as hidden
    from sent as sms
    inner join sent as messages on messages.stream = 'messages'
    where sms.stream = 'sms' and messages.records > 0
)

select
    stream,
    other_product,
    records,
    hidden_records,
    case
        when hidden_records > 0
            then hidden || ' in ' || cast(hidden_records as varchar(20)) || ' of ' || cast(records as varchar(20))
                || ' rows of ' || stream || ' are hashed, dropped or not loaded, so a message that ' || other_product
                || ' lists, too, may not be found, and counts in both.'
    end as reason
from pairs
