{{ config(severity = 'warn') }}
-- An account that has no usage and is not in the stream `accounts`, so that its line matches no record.
{% set query -%}
with entered as (
    select 'vonage_invoices' as seed, nullif(account_id, '') as account_id
    from ({{ vonage_reports.invoice_lines() }}) as lines
    union all
    select 'vonage_price_plans' as seed, account_id from ({{ vonage_reports.price_plans() }}) as plans
)

select
    entered.seed || ': account ' || entered.account_id || ' is unknown: it has no records, and neither the stream accounts '
    || 'nor the seed vonage_account_names has it. Write an API key as in dim_vonage__account, with upper and lower case.' as problem
from entered
left join {{ ref('dim_vonage__account') }} as accounts on entered.account_id = accounts.account_id
where entered.account_id is not null and entered.account_id <> 'unassigned' and accounts.account_id is null
union all
select
    'vonage_price_plans: account ' || entered.account_id || ' is not one of yours, so its records are billed as unassigned. '
    || 'Add it to the seed vonage_account_names.' as problem
from entered
inner join {{ ref('dim_vonage__account') }} as accounts on entered.account_id = accounts.account_id
where entered.seed = 'vonage_price_plans' and not accounts.is_own
union all
-- The real account would be unassigned.
select
    'vonage_account_names: account ' || names.account_id || ' has no records, but ' || accounts.account_id || ' has. '
    || 'Write the API key with the same upper and lower case.' as problem
from ({{ vonage_reports.account_names() }}) as names
inner join {{ ref('dim_vonage__account') }} as named on names.account_id = named.account_id
inner join {{ ref('dim_vonage__account') }} as accounts
    on lower(names.account_id) = lower(accounts.account_id) and names.account_id <> accounts.account_id
where named.first_used_at is null and accounts.first_used_at is not null
{%- endset -%}
{{ vonage_reports.with_problems_printed(query) }}
