{#- SQL types by the kinds of columns that the tap has. Times are in UTC without a zone on every engine. -#}
{%- macro type_of(kind) -%}{{ return(adapter.dispatch('type_of', 'vonage_reports')(kind)) }}{%- endmacro -%}

{%- macro default__type_of(kind) -%}
{{ return({'text': 'text', 'timestamp': 'timestamp', 'money': 'numeric', 'integer': 'bigint', 'boolean': 'boolean', 'object': 'text'}[kind]) }}
{%- endmacro -%}

{%- macro duckdb__type_of(kind) -%}
{{ return({'text': 'varchar', 'timestamp': 'timestamp', 'money': 'decimal(38, 18)', 'integer': 'bigint', 'boolean': 'boolean', 'object': 'varchar'}[kind]) }}
{%- endmacro -%}

{#- A loaded column as its kind. `found` is its type in the table. -#}
{%- macro typed(column, kind, found) -%}
{%- set name = adapter.quote(column) -%}
{%- if kind == 'timestamp' and 'with time zone' in found -%}
    {{ name }} at time zone 'UTC'
{%- elif kind == 'timestamp' and not found.startswith('timestamp') -%}
    cast({{ name }} as timestamp with time zone) at time zone 'UTC'
{%- else -%}
    cast({{ name }} as {{ vonage_reports.type_of(kind) }})
{%- endif -%}
{%- endmacro -%}

{#- A time in UTC as the time of a zone. -#}
{%- macro in_zone(time, zone) -%}
({{ time }} at time zone 'UTC' at time zone {{ zone }})
{%- endmacro -%}

{#- The day, or the month, of a time in UTC, in the zone of the reports. -#}
{%- macro local_day(time) -%}
cast({{ vonage_reports.in_zone(time, "'" ~ var('vonage_time_zone') ~ "'") }} as date)
{%- endmacro -%}

{%- macro local_month(time) -%}
cast(date_trunc('month', {{ vonage_reports.in_zone(time, "'" ~ var('vonage_time_zone') ~ "'") }}) as date)
{%- endmacro -%}

{#- Money with room for a factor: decimal(38, 18) leaves none. -#}
{%- macro billable(money) -%}
cast({{ money }} as numeric(28, 10))
{%- endmacro -%}

{#- The days from one date to another, as rows of a select list. -#}
{%- macro days(first, last) -%}{{ return(adapter.dispatch('days', 'vonage_reports')(first, last)) }}{%- endmacro -%}

{%- macro default__days(first, last) -%}
generate_series(cast({{ first }} as timestamp), cast({{ last }} as timestamp), interval '1 day')
{%- endmacro -%}

{%- macro duckdb__days(first, last) -%}
unnest(generate_series(cast({{ first }} as timestamp), cast({{ last }} as timestamp), interval '1 day'))
{%- endmacro -%}

{#- Whether a text is missing, or hashed by the tap's setting personal_data. -#}
{%- macro is_hidden(column) -%}
({{ column }} is null or {{ vonage_reports.is_hashed(column) }})
{%- endmacro -%}

{%- macro is_hashed(column) -%}
(length({{ column }}) = 64 and {{ column }} ~ '^[0-9a-f]+$')
{%- endmacro -%}

{#- The present time, in UTC. -#}
{%- macro utc_now() -%}
(current_timestamp at time zone 'UTC')
{%- endmacro -%}

{#- Let PostgreSQL count the rows of a new table, which it otherwise guesses, and then joins in a slow way. -#}
{%- macro analyze() -%}
{{ return('analyze ' ~ this if target.type == 'postgres' else '') }}
{%- endmacro -%}
