-- Price plans that would bill something else than they say.
{% set query -%}
with plans as (
    select
        *,
        'vonage_price_plans: the plan of account ' || coalesce(account_id, '(all)') || ', product '
        || coalesce(product, '(all)') || ', country ' || coalesce(country, '(all)') || ', from '
        || coalesce(cast(valid_from as varchar(10)), '(always)') || ' ' as plan
    from ({{ vonage_reports.price_plans() }}) as typed
)

select plan || 'begins within a month. Bills are for whole months: set valid_from to the first day of one.' as problem
from plans
where extract(day from valid_from) <> 1
union all
select plan || 'ends within a month. Bills are for whole months: set valid_to to the first or last day of one.' as problem
from plans
where extract(day from valid_to) <> 1 and extract(day from valid_to + interval '1 day') <> 1
union all
select plan || 'ends before it begins. Correct valid_from or valid_to.' as problem
from plans
where valid_to < valid_from
union all
select plan || 'would bill a negative amount. Set markup_percent to -100 or more, fee_per_unit and free_units to 0 or more.' as problem
from plans
where markup_percent < -100 or fee_per_unit < 0 or free_units < 0
union all
select plan || 'has a country that is no code. Write two letters as the API does, such as GB.' as problem
from plans
where length(country) <> 2 or country = 'UK'
union all
select plan || 'stands in the seed more than once. Delete all but one of these lines.' as problem
from plans
group by plan
having count(*) > 1
union all
select plan || 'has units that are neither charged nor all.' as problem
from plans
where units not in ('charged', 'all')
union all
select
    'vonage_price_plans: there is no product ' || product_as_entered || '. Leave it empty for all, or write one of: '
    || '{{ vonage_reports.products() | map(attribute='product') | join(', ') }}.' as problem
from plans
where product not in ({{ vonage_reports.product_names() }})
{%- endset -%}
{{ vonage_reports.with_problems_printed(query) }}
