{{ config(severity = 'warn') }}
-- Where the tap's setting personal_data hashes or drops what ties two rows of one message together, both count.
{% set query -%}
select
    'vonage__same_message_limits: ' || reason || ' Load from, to and client_ref with personal_data: keep, or take the price '
    || 'of rows in vonage__same_message that are not certain for what may be counted twice.' as problem
from {{ ref('vonage__same_message_limits') }}
where reason is not null
{%- endset -%}
{{ vonage_reports.with_problems_printed(query) }}
