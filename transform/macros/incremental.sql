{#- From when on a model reads the rows of each stream, as of an incremental run: the newest load that it has, less the
    overlap. Empty for a full run, and for streams whose rows do not say when they were loaded. -#}
{%- macro loaded_since() -%}
{%- set since = {} -%}
{%- if is_incremental() and execute -%}
    {%- set newest %}
        select stream, max(loaded_at) - interval '{{ var('vonage_overlap_hours') | int }} hours' from {{ this }} group by stream
    {%- endset -%}
    {%- for row in run_query(newest).rows if row[1] -%}
        {%- do since.update({row[0]: row[1]}) -%}
    {%- endfor -%}
{%- endif -%}
{{ return(since) }}
{%- endmacro -%}
