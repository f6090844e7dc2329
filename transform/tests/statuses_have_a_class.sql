{{ config(severity = 'warn') }}
-- A status that the seed does not know. Add it to the seed, or its rows count as of unknown outcome.
select usage.stream, lower(usage.status) as status, count(*) as records
from {{ ref('int_vonage__usage') }} as usage
left join {{ vonage_reports.seed('vonage_status_classes') }} as classes
    on usage.stream = classes.stream and lower(usage.status) = classes.status
where usage.status is not null and classes.status is null
group by 1, 2
