{#- From when on a model reads the rows of each stream, as of an incremental run: the newest load that it has, less the
    overlap. Empty for a full run, for streams whose rows do not say when they were loaded, and if an earlier version of the
    project built the model without one of the columns, so that this run fills the column in all rows. -#}
{%- macro loaded_since(columns) -%}
{%- set since = {} -%}
{%- if is_incremental() and execute and vonage_reports.has_columns(this, columns) -%}
    {%- set newest %}
        select stream, max(loaded_at) - interval '{{ var('vonage_overlap_hours') | int }} hours' from {{ this }} group by stream
    {%- endset -%}
    {%- for row in run_query(newest).rows if row[1] -%}
        {%- do since.update({row[0]: row[1]}) -%}
    {%- endfor -%}
{%- endif -%}
{{ return(since) }}
{%- endmacro -%}

{#- True if a table has all of the columns. -#}
{%- macro has_columns(table, columns) -%}
{%- set found = adapter.get_columns_in_relation(table) | map(attribute = 'name') | list -%}
{{ return(columns | reject('in', found) | list | length == 0) }}
{%- endmacro -%}
