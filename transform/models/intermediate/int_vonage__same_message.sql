{{ config(post_hook = vonage_reports.analyze()) }}

{%- set streams = var('vonage_streams') -%}
{%- set sender = adapter.quote('from') -%}
{%- set recipient = adapter.quote('to') -%}
{%- set verify_streams = ['verify_v2', 'verify_api'] | select('in', streams) | list -%}

with sms as (
    {% if 'sms' in streams -%}
    select
        'sms:' || id as usage_key,
        account_id,
        message_id,
        {{ sender }} as sender,
        {{ recipient }} as recipient,
        date_received,
        -- The Messages API writes 1|<id>|<milliseconds>|<region> into the reference.
        case
            when client_ref like '1|%|%|%' then split_part(client_ref, '|', 2)
        end as messages_id
    from {{ ref('stg_vonage__sms') }}
    where direction = 'outbound'
    {%- else -%}
    {{ vonage_reports.no_rows({'usage_key': 'text', 'account_id': 'text', 'message_id': 'text', 'sender': 'text', 'recipient': 'text', 'date_received': 'timestamp', 'messages_id': 'text'}) }}
    {%- endif %}
),

messages as (
    {% if 'messages' in streams -%}
    select
        'messages:' || id as usage_key,
        account_id,
        message_id,
        {{ sender }} as sender,
        {{ recipient }} as recipient,
        date_received
    from {{ ref('stg_vonage__messages') }}
    where direction = 'outbound' and provider = 'sms'
    {%- else -%}
    {{ vonage_reports.no_rows({'usage_key': 'text', 'account_id': 'text', 'message_id': 'text', 'sender': 'text', 'recipient': 'text', 'date_received': 'timestamp'}) }}
    {%- endif %}
),

verified as (
    {% for stream in verify_streams -%}
    select
        '{{ stream }}:' || id as usage_key,
        '{{ stream | upper | replace('_', '-') }}' as product,
        account_id,
        {{ recipient }} as recipient,
        date_received
    from {{ ref('stg_vonage__' ~ stream) }}
    where sms_event_count > 0
    {{ 'union all' if not loop.last }}
    {% else -%}
    {{ vonage_reports.no_rows({'usage_key': 'text', 'product': 'text', 'account_id': 'text', 'recipient': 'text', 'date_received': 'timestamp'}) }}
    {% endfor %}
),

by_message_id as (
    select sms.usage_key, 'MESSAGES' as counted_in, messages.usage_key as counted_as, 'message_id' as rule
    from sms
    inner join messages on sms.message_id = messages.message_id
),

by_client_ref as (
    select sms.usage_key, 'MESSAGES' as counted_in, messages.usage_key as counted_as, 'client_ref' as rule
    from sms
    inner join messages on sms.messages_id = messages.message_id
),

of_verify as (
    select usage_key, account_id, recipient, date_received from sms where lower(sender) = 'verify'
    union all
    select usage_key, account_id, recipient, date_received from messages where lower(sender) = 'verify'
),

by_verify as (
    select
        of_verify.usage_key,
        verified.product as counted_in,
        verified.usage_key as counted_as,
        'verify' as rule,
        row_number() over (
            partition by of_verify.usage_key order by verified.date_received desc, verified.usage_key
        ) as nearest
    from of_verify
    inner join verified
        on of_verify.account_id = verified.account_id
        and of_verify.recipient = verified.recipient
        and of_verify.date_received >= verified.date_received
        and of_verify.date_received
        < verified.date_received + interval '{{ var('vonage_verify_minutes') | int }} minutes'
),

pairs as (
    select usage_key, counted_in, counted_as, rule, 1 as rank from by_message_id
    union all
    select usage_key, counted_in, counted_as, rule, 2 as rank from by_client_ref
    union all
    select usage_key, counted_in, counted_as, rule, 3 as rank from by_verify where nearest = 1
),

best as (
    select
        usage_key,
        counted_in,
        counted_as,
        rule,
        row_number() over (partition by usage_key order by rank, counted_as) as place
    from pairs
),

-- Where senders or recipients are hashed, dropped or not loaded, no SMS is known to be of Verify.
hidden_senders as (
    select
        account_id,
        min(date_received) - interval '{{ var('vonage_verify_minutes') | int }} minutes' as first_sent_at,
        max(date_received) as last_sent_at
    from (
        select account_id, date_received from sms where {{ vonage_reports.is_hidden('sender') }} or recipient is null
        union all
        select account_id, date_received from messages where {{ vonage_reports.is_hidden('sender') }} or recipient is null
    ) as hidden
    group by account_id
),

-- What another product may list, too, without a sign which row it is.
possible as (
    select usage_key, 'MESSAGES' as counted_in, 'client_ref' as rule from sms where messages_id is not null
    union all
    select usage_key, 'VERIFY' as counted_in, 'verify' as rule from of_verify
    union all
    select verified.usage_key, 'SMS' as counted_in, 'sender hidden' as rule
    from verified
    inner join hidden_senders
        on verified.account_id = hidden_senders.account_id
        and verified.date_received >= hidden_senders.first_sent_at
        and verified.date_received <= hidden_senders.last_sent_at
    where verified.usage_key not in (select counted_as from by_verify)
    {%- if 'sms' in streams %}
    union all
    select usage_key, 'SMS' as counted_in, 'provider sms' as rule from messages
    where usage_key not in (select counted_as from by_message_id union all select counted_as from by_client_ref)
    {%- endif %}
),

doubtful as (
    select
        usage_key,
        counted_in,
        rule,
        row_number() over (partition by usage_key order by counted_in) as place
    from possible
    where usage_key not in (select usage_key from best)
)

select usage_key, counted_in, counted_as, rule, true as is_certain from best where place = 1
union all
select usage_key, counted_in, null as counted_as, rule, false as is_certain from doubtful where place = 1
