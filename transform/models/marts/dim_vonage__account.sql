{%- set is_loaded = 'accounts' in var('vonage_streams') -%}

with loaded as (
    {% if is_loaded -%}
    select
        api_key as account_id,
        primary_account_api_key as primary_account_id,
        suspended as is_suspended,
        created_at,
        balance,
        credit_limit
    from {{ ref('stg_vonage__accounts') }}
    {%- else -%}
    {{ vonage_reports.no_rows({'account_id': 'text', 'primary_account_id': 'text', 'is_suspended': 'boolean', 'created_at': 'timestamp', 'balance': 'money', 'credit_limit': 'money'}) }}
    {%- endif %}
),

names as (
    {{ vonage_reports.account_names() }}
),

used as (
    select
        account_id,
        min(started_at) as first_used_at,
        max(started_at) as last_used_at
    from {{ ref('int_vonage__usage') }}
    where account_id is not null
    group by account_id
),

account_ids as (
    select account_id from loaded
    union
    select account_id from names
    union
    select account_id from used
),

-- Not the name in Vonage's dashboard, which may be a person's. Two accounts of one name stay two on every page.
named as (
    select
        account_ids.account_id,
        case
            when count(*) over (partition by coalesce(names.name, account_ids.account_id)) > 1 and names.name is not null
                then names.name || ' (' || account_ids.account_id || ')'
            else coalesce(names.name, account_ids.account_id)
        end as account_name
    from account_ids
    left join names on account_ids.account_id = names.account_id
),

lists as (
    select (select count(*) from loaded) + (select count(*) from names) as accounts
)

select
    named.account_id,
    named.account_name,
    loaded.primary_account_id,
    loaded.is_suspended,
    loaded.created_at,
    loaded.balance,
    loaded.credit_limit,
    -- Without any list, every account is taken for one of yours.
    loaded.account_id is not null or names.account_id is not null or lists.accounts = 0 as is_own,
    used.first_used_at,
    used.last_used_at
from named
cross join lists
left join loaded on named.account_id = loaded.account_id
left join names on named.account_id = names.account_id
left join used on named.account_id = used.account_id
