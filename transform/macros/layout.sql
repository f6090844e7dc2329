{#- How the rows were loaded:
    - parquet: the tap's own BATCH files, read by DuckDB; a newer file has the current row of an id
    - upserted: tables with one row per id (target-postgres, the DuckDB loader)
    - appended: tables with every row that was fetched -#}
{%- macro layout() -%}
{%- set found = var('vonage_layout', none) or env_var('VONAGE_LAYOUT', 'upserted') -%}
{%- if found not in ('parquet', 'upserted', 'appended') -%}
    {{ exceptions.raise_compiler_error("vonage_layout is '" ~ found ~ "', but has to be parquet, upserted or appended.") }}
{%- endif -%}
{{ return(found) }}
{%- endmacro -%}

{#- The folder of the files, which may be a URL, and may have folders in it. -#}
{%- macro folder() -%}
{%- set folder = var('vonage_files', none) or env_var('VONAGE_FILES', '') -%}
{%- if not folder -%}
    {{ exceptions.raise_compiler_error('The layout is parquet, but vonage_files does not say where the files are.') }}
{%- endif -%}
{{ return(folder) }}
{%- endmacro -%}

{#- The files of a stream that are there, as a list in SQL; empty if there are none. With the tap's `prefix` and its layout
    `flat`, something stands before the name of the stream, perhaps the name of another one; no stream's name ends with
    that of another one. Files with other names than the tap's, such as sms-compacted.parquet, begin with the stream's. -#}
{%- macro files_of(stream) -%}
{%- set folder = vonage_reports.folder() | replace("'", "''") -%}
{%- set written = '-[0-9]*T[0-9]*Z-*-*.parquet' -%}
{%- set names = [stream ~ '-*.parquet', stream ~ written, '?*' ~ stream ~ written] -%}
{#- One listing, for the folder may be in a remote storage. -#}
{%- set listing -%}
    with found as (
        select parse_filename(file) as name from glob('{{ folder }}/**/*{{ stream }}-*.parquet')
    )

    select
        bool_or(name glob '{{ names[0] }}' and not name glob '?*{{ written }}') as has_other,
        -- The first pattern has these, too.
        bool_or(name glob '{{ names[1] }}') and not has_other as has_none,
        bool_or(name glob '{{ names[2] }}') as has_prefix
    from found
{%- endset -%}
{%- set found = run_query(listing).rows[0] -%}
{%- set patterns = [] -%}
{%- for name in names -%}
    {%- if found[loop.index0] -%}{%- do patterns.append("'" ~ folder ~ '/**/' ~ name ~ "'") -%}{%- endif -%}
{%- endfor -%}
{{ return(patterns | join(', ')) }}
{%- endmacro -%}

{#- Where a stream's rows are: SQL for a FROM clause, and the columns with their types in lower case; no columns if
    nothing was loaded. -#}
{%- macro loaded(stream) -%}
{%- set from_clause = source('vonage', stream) -%}
{%- if not execute -%}{{ return({'sql': from_clause, 'columns': {}}) }}{%- endif -%}
{{ return(adapter.dispatch('loaded', 'vonage_reports')(stream, from_clause)) }}
{%- endmacro -%}

{%- macro default__loaded(stream, table) -%}
{%- if vonage_reports.layout() == 'parquet' -%}
    {{ exceptions.raise_compiler_error('The layout parquet needs DuckDB. Load the files into tables first.') }}
{%- endif -%}
{{ return(vonage_reports.loaded_table(table)) }}
{%- endmacro -%}

{%- macro duckdb__loaded(stream, table) -%}
{%- if vonage_reports.layout() != 'parquet' -%}
    {%- if table.database == table.schema -%}
        {{ exceptions.raise_compiler_error("The DuckDB file and its schema are both called '" ~ table.schema ~ "', which DuckDB cannot tell apart in a view. Rename the file.") }}
    {%- endif -%}
    {{ return(vonage_reports.loaded_table(table)) }}
{%- endif -%}
{%- set files = vonage_reports.files_of(stream) -%}
{%- set columns = {} -%}
{%- set sql = "read_parquet([" ~ files ~ "], union_by_name = true, filename = true, file_row_number = true, hive_partitioning = false)" -%}
{%- if files -%}
    {%- for row in run_query('describe select * from ' ~ sql).rows -%}
        {%- do columns.update({row[0]: row[1] | lower}) -%}
    {%- endfor -%}
{%- endif -%}
{{ return({'sql': sql, 'columns': columns}) }}
{%- endmacro -%}

{%- macro loaded_table(table) -%}
{%- set columns = {} -%}
{%- set found = adapter.get_relation(table.database, table.schema, table.identifier) -%}
{%- if found -%}
    {%- for column in adapter.get_columns_in_relation(found) -%}
        {%- do columns.update({column.name: column.data_type | lower}) -%}
    {%- endfor -%}
{%- endif -%}
{{ return({'sql': table, 'columns': columns}) }}
{%- endmacro -%}

{#- When a row was loaded, in UTC; null if nothing says it. -#}
{%- macro loaded_at(columns) -%}
{%- if vonage_reports.layout() == 'parquet' -%}
    {#- Releases before 0.2 wrote whole seconds. -#}
    {%- set in_name = "regexp_extract(filename, '-([0-9]{8}T[0-9]{6,12})Z-[0-9a-f]+-[0-9]+[.]parquet$', 1)" -%}
    {{ return("try_strptime(" ~ in_name ~ ", ['%Y%m%dT%H%M%S%f', '%Y%m%dT%H%M%S'])") }}
{%- endif -%}
{%- for name in ['_sdc_batched_at', '_sdc_received_at', '_sdc_extracted_at'] if name in columns -%}
    {{ return(vonage_reports.typed(name, 'timestamp', columns[name])) }}
{%- endfor -%}
{{ return('cast(null as timestamp)') }}
{%- endmacro -%}

{#- What makes a row newer than another one with its id, newest first; none where rows are replaced. -#}
{%- macro newest_first(columns) -%}
{%- if vonage_reports.layout() == 'parquet' -%}
    {{ return(vonage_reports.loaded_at(columns) ~ ' desc nulls last, parse_filename(filename) desc, file_row_number desc') }}
{%- elif vonage_reports.layout() == 'appended' -%}
    {%- set order = ['_sdc_extracted_at', '_sdc_sequence', '_sdc_batched_at'] | select('in', columns) | list -%}
    {%- if not order -%}
        {{ exceptions.raise_compiler_error('The layout appended needs the column _sdc_extracted_at: let the target add record metadata.') }}
    {%- endif -%}
    {{ return(order | join(' desc, ') ~ ' desc') }}
{%- endif -%}
{{ return(none) }}
{%- endmacro -%}

{#- The current rows of a stream, with typed columns. A column that was not loaded is null; a stream of which nothing
    was loaded has no rows. -#}
{%- macro current_rows(stream, key, columns) -%}
{%- set loaded = vonage_reports.loaded(stream) -%}
{%- set found = loaded.columns -%}
{%- set newest_first = vonage_reports.newest_first(found) if found else none -%}
with loaded as (
    select
        {%- for name, kind in columns.items() %}
        {% if name in found -%}
            {{ vonage_reports.typed(name, kind, found[name]) }}
        {%- else -%}
            cast(null as {{ vonage_reports.type_of(kind) }})
        {%- endif %} as {{ adapter.quote(name) }},
        {%- endfor %}
        {{ vonage_reports.loaded_at(found) if found else 'cast(null as timestamp)' }} as loaded_at,
        {{ 'parse_filename(filename)' if found and vonage_reports.layout() == 'parquet' else 'cast(null as ' ~ vonage_reports.type_of('text') ~ ')' }} as loaded_from
        {%- if newest_first %},
        row_number() over (partition by {{ adapter.quote(key) }} order by {{ newest_first }}) as version_number
        {%- endif %}
    {{ 'from ' ~ loaded.sql if found else 'where 1 = 0' }}
)

select
    {%- for name in columns %}
    {{ adapter.quote(name) }},
    {%- endfor %}
    loaded_at,
    loaded_from
from loaded
{%- if newest_first %}
where version_number = 1
{%- endif %}
{%- endmacro -%}

{#- A select of no rows, with typed columns. -#}
{%- macro no_rows(columns) -%}
select
    {%- for name, kind in columns.items() %}
    cast(null as {{ vonage_reports.type_of(kind) }}) as {{ name }}{{ ',' if not loop.last }}
    {%- endfor %}
where 1 = 0
{%- endmacro -%}

{#- Stop if no stream was loaded: a wrong folder or schema would give models without rows, and say nothing. -#}
{%- macro check_rows_are_found() -%}
{%- if execute and flags.WHICH in ('build', 'run') -%}
    {%- set streams = var('vonage_streams') -%}
    {%- if vonage_reports.layout() == 'parquet' -%}
        {%- set where = "files in the folder '" ~ vonage_reports.folder() ~ "'. Their names are those of the tap, such as sms-20261128T101530123456Z-1f2e3d4c-00001.parquet. Check vonage_files" -%}
        {%- set found = [] -%}
        {%- for stream in streams if not found and vonage_reports.files_of(stream) -%}
            {%- do found.append(stream) -%}
        {%- endfor -%}
    {%- else -%}
        {%- set schema = var('vonage_schema', none) or env_var('VONAGE_SCHEMA', 'vonage') -%}
        {%- set where = "tables in the schema '" ~ schema ~ "'. Check vonage_schema" -%}
        {%- set found = run_query("select 1 from information_schema.tables where table_schema = '" ~ schema | replace("'", "''") ~ "' and table_name in ('" ~ streams | join("', '") ~ "') limit 1").rows -%}
    {%- endif -%}
    {%- if not found -%}
        {{ exceptions.raise_compiler_error("No stream has " ~ where ~ " and vonage_layout (VONAGE_LAYOUT), or load rows first.") }}
    {%- endif -%}
{%- endif -%}
{%- endmacro -%}

{#- Stop if the database does not know the time zone of the reports: it would fail in the middle of a model. -#}
{%- macro check_time_zone() -%}
{%- if execute and flags.WHICH in ('build', 'run') -%}
    {%- set zone = var('vonage_time_zone') -%}
    {%- set known = "select 1 from (" ~ vonage_reports.time_zones() ~ ") as zones where lower_name = lower('" ~ zone | replace("'", "''") ~ "')" -%}
    {%- if not run_query(known).rows | length -%}
        {{ exceptions.raise_compiler_error("vonage_time_zone is '" ~ zone ~ "', which the database does not know. Set it to a name such as Europe/London or UTC.") }}
    {%- endif -%}
{%- endif -%}
{%- endmacro -%}
