-- Lines of invoices that cannot be compared with usage. Their lines in the mart say so, too, as their likely cause.
{% set query -%}
with lines as (
    {{ vonage_reports.invoice_lines() | indent(4) }}
),

zones as (
    {{ vonage_reports.time_zones() | indent(4) }}
),

months as (
    select
        lines.month,
        count(distinct lower(lines.time_zone)) as time_zones,
        min(lines.account_id) = '' and max(lines.account_id) <> '' as is_mixed
    from lines
    group by lines.month
)

select
    'vonage_invoices: the database has no time zone ' || lines.time_zone
    || '. Write its name like Europe/London, or leave it empty for UTC.' as problem
from lines
left join zones on lower(lines.time_zone) = zones.lower_name
where zones.name is null
union all
select
    'vonage_invoices: the lines of ' || substr(cast(month as varchar(10)), 1, 7) || ' have several time zones. All invoices of a month are compared '
    || 'with the same records: give all their lines the same time zone.' as problem
from months
where time_zones > 1
union all
select
    'vonage_invoices: only some lines of ' || substr(cast(month as varchar(10)), 1, 7) || ' name an account. Fill in '
    || 'account_id in all lines of a month, or in none.' as problem
from months
where is_mixed
union all
select
    'vonage_invoices: there is no product ' || product_as_entered || '. Leave out what is not in the Reports API, such as '
    || 'the rental of numbers, or write one of: {{ vonage_reports.products() | map(attribute='product') | join(', ') }}.' as problem
from lines
where product not in ({{ vonage_reports.product_names() }})
{%- endset -%}
{{ vonage_reports.with_problems_printed(query) }}
