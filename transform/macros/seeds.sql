{#- The lines of seeds, typed, with the names of products, countries and currencies as the API writes them. Models and
    tests read seeds through these macros, so that seeds of your own are checked like the project's. -#}

{#- A seed of this project, or the seed or model of the user's project that the variable of its name says. dbt warns of a
    reference from a package to the user's project that does not name the project. -#}
{%- macro seed(name) -%}
{%- set chosen = var(name) -%}
{{ return(ref(name) if chosen == name else ref(project_name, chosen)) }}
{%- endmacro -%}

{#- A product as the API writes it: "Voice call" and voice_call are VOICE-CALL. -#}
{%- macro product_name(column) -%}
nullif(upper(replace(replace(trim(cast({{ column }} as {{ vonage_reports.type_of('text') }})), ' ', '-'), '_', '-')), '')
{%- endmacro -%}

{#- Text without spaces around it, null if nothing is left. -#}
{%- macro trimmed(column) -%}
nullif(trim(cast({{ column }} as {{ vonage_reports.type_of('text') }})), '')
{%- endmacro -%}

{#- Products of the API, as a list in SQL. -#}
{%- macro product_names() -%}
'{{ vonage_reports.products() | map(attribute='product') | join("', '") }}'
{%- endmacro -%}

{%- macro invoice_lines() -%}
select
    {{ vonage_reports.trimmed('invoice') }} as invoice,
    cast(date_trunc('month', cast(month as date)) as date) as month,
    coalesce({{ vonage_reports.trimmed('time_zone') }}, 'UTC') as time_zone,
    cast(issued_at as timestamp) as issued_at,
    coalesce({{ vonage_reports.trimmed('account_id') }}, '') as account_id,
    {{ vonage_reports.product_name('product') }} as product,
    {{ vonage_reports.trimmed('product') }} as product_as_entered,
    upper(coalesce({{ vonage_reports.trimmed('currency') }}, '')) as currency,
    cast(quantity as numeric(28, 4)) as quantity,
    cast(amount as numeric(28, 10)) as amount
from {{ vonage_reports.seed('vonage_invoices') }}
{%- endmacro -%}

{%- macro price_plans() -%}
select
    {{ vonage_reports.trimmed('account_id') }} as account_id,
    {{ vonage_reports.product_name('product') }} as product,
    {{ vonage_reports.trimmed('product') }} as product_as_entered,
    upper({{ vonage_reports.trimmed('country') }}) as country,
    cast(valid_from as date) as valid_from,
    cast(valid_to as date) as valid_to,
    coalesce(cast(markup_percent as numeric(10, 4)), 0) as markup_percent,
    coalesce(cast(fee_per_unit as numeric(18, 8)), 0) as fee_per_unit,
    coalesce(cast(free_units as bigint), 0) as free_units,
    coalesce(lower({{ vonage_reports.trimmed('units') }}), 'charged') as units
from {{ vonage_reports.seed('vonage_price_plans') }}
{%- endmacro -%}

{#- The names of accounts. -#}
{%- macro account_names() -%}
select
    {{ vonage_reports.trimmed('account_id') }} as account_id,
    {{ vonage_reports.trimmed('name') }} as name
from {{ vonage_reports.seed('vonage_account_names') }}
{%- endmacro -%}

{#- The names of the database's time zones, by their name in lower case. -#}
{%- macro time_zones() -%}
select lower(name) as lower_name, min(name) as name
from {{ 'pg_timezone_names()' if target.type == 'duckdb' else 'pg_timezone_names' }}
group by 1
{%- endmacro -%}

{#- A test's query. Prints the column `problem` of its rows, because dbt itself shows only how many there are. -#}
{%- macro with_problems_printed(query) -%}
{%- if execute and flags.WHICH in ('build', 'test') -%}
    {%- for row in run_query('select distinct problem from (' ~ query ~ ') as found order by 1 limit 20').rows -%}
        {%- do print(row[0]) -%}
    {%- endfor -%}
{%- endif -%}
{{ return(query) }}
{%- endmacro -%}
