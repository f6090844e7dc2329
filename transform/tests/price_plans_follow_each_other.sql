{{ config(severity = 'warn') }}
-- Two plans for the same account, product and country in one month: the one that begins later counts.
{% set query -%}
with plans as (
    select
        coalesce(account_id, '(all)') as account_id,
        coalesce(product, '(all)') as product,
        coalesce(country, '(all)') as country,
        coalesce(valid_from, date '0001-01-01') as valid_from,
        coalesce(valid_to, date '9999-12-31') as valid_to
    from ({{ vonage_reports.price_plans() }}) as typed
)

select
    'vonage_price_plans: two plans of account ' || earlier.account_id || ', product ' || earlier.product || ', country '
    || earlier.country || ' hold in ' || substr(cast(later.valid_from as varchar(10)), 1, 7)
    || '. The one that begins later counts. Set valid_to of the other one to the month before.' as problem
from plans as earlier
inner join plans as later
    on earlier.account_id = later.account_id
    and earlier.product = later.product
    and earlier.country = later.country
    and earlier.valid_from < later.valid_from
    and earlier.valid_to >= later.valid_from
{%- endset -%}
{{ vonage_reports.with_problems_printed(query) }}
