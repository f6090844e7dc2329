{%- set within -%}
usage.started_at >= invoices.starts_at and usage.started_at < invoices.ends_at
{%- endset -%}

with lines as (
    {{ vonage_reports.invoice_lines() }}
),

zones as (
    {{ vonage_reports.time_zones() }}
),

-- All invoices of a month together are what Vonage billed for it: corrections and credit notes come as invoices, too.
periods as (
    select
        lines.month,
        string_agg(distinct lines.invoice, ', ' order by lines.invoice) as invoice,
        min(coalesce(zones.name, lines.time_zone)) as time_zone,
        max(lines.issued_at) as issued_at,
        max(lines.account_id) <> '' as is_by_account,
        case
            when count(zones.name) < count(*) then 'not compared: unknown time zone'
            when count(distinct zones.name) > 1 then 'not compared: several time zones in one month'
            when min(lines.account_id) = '' and max(lines.account_id) <> ''
                then 'not compared: only some lines of the month name an account'
        end as problem
    from lines
    left join zones on lower(lines.time_zone) = zones.lower_name
    group by lines.month
),

invoices as (
    select
        month,
        issued_at,
        is_by_account,
        cast(month as timestamp) at time zone time_zone at time zone 'UTC' as starts_at,
        cast(month + interval '1 month' as timestamp) at time zone time_zone at time zone 'UTC' as ends_at,
        cast(month - interval '1 month' as timestamp) at time zone time_zone at time zone 'UTC' as before_starts_at,
        cast(month + interval '2 months' as timestamp) at time zone time_zone at time zone 'UTC' as after_ends_at
    from (select month, issued_at, is_by_account, case when problem is null then time_zone end as time_zone from periods) as comparable
),

billed_by_invoice as (
    select
        month,
        account_id,
        product,
        currency,
        invoice,
        count(*) as lines,
        sum(quantity) as quantity,
        sum(amount) as amount,
        max(amount) as one_amount,
        min(amount) as least_amount
    from lines
    group by month, account_id, product, currency, invoice
),

billed as (
    select
        month,
        account_id,
        product,
        currency,
        string_agg(invoice, ', ' order by invoice) as billed_on,
        count(*) as invoices,
        sum(lines) as lines,
        sum(quantity) as quantity,
        sum(amount) as amount,
        max(one_amount) as one_amount,
        max(one_amount) = min(least_amount) as is_one_amount
    from billed_by_invoice
    group by month, account_id, product, currency
),

-- The month in the time zone of its invoices, and what else they may have billed instead.
used as (
    select
        invoices.month,
        case when invoices.is_by_account then coalesce(usage.account_id, 'unassigned') else '' end as account_id,
        usage.product,
        coalesce(usage.currency, '') as currency,
        count(*) filter (where {{ within }} and usage.is_counted) as records,
        coalesce(sum(usage.quantity) filter (where {{ within }} and usage.is_counted and usage.total_price > 0), 0) as quantity,
        coalesce(sum(usage.total_price) filter (where {{ within }} and usage.is_counted), 0) as amount,
        coalesce(sum(usage.total_price) filter (where {{ within }} and not usage.is_counted), 0) as counted_elsewhere,
        coalesce(sum(usage.total_price) filter (
            where {{ within }} and usage.is_counted and usage.finalized_at >= invoices.issued_at
        ), 0) as late,
        coalesce(sum(usage.total_price) filter (
            where usage.is_counted and cast(date_trunc('month', usage.started_at) as date) = invoices.month
        ), 0) as utc_month,
        coalesce(sum(usage.total_price) filter (
            where usage.is_counted and usage.started_at < invoices.starts_at
        ), 0) as month_before,
        coalesce(sum(usage.total_price) filter (
            where usage.is_counted and usage.started_at >= invoices.ends_at
        ), 0) as month_after
    from invoices
    inner join {{ ref('fct_vonage__usage') }} as usage
        on usage.started_at >= invoices.before_starts_at
        and usage.started_at < invoices.after_ends_at
    group by 1, 2, 3, 4
),

matched as (
    select
        coalesce(billed.month, used.month) as month,
        coalesce(billed.account_id, used.account_id) as account_id,
        coalesce(billed.product, used.product) as product,
        billed.currency as invoice_currency,
        used.currency as usage_currency,
        billed.billed_on,
        billed.invoices,
        billed.lines,
        billed.one_amount,
        billed.is_one_amount,
        billed.quantity as invoiced_quantity,
        billed.amount as invoiced,
        used.records,
        used.quantity,
        used.amount as expected,
        used.counted_elsewhere,
        used.late,
        used.utc_month,
        used.month_before,
        used.month_after
    from billed
    full outer join used
        on billed.month = used.month
        and billed.account_id = used.account_id
        and billed.product = used.product
        and billed.currency = used.currency
    where billed.amount is not null or used.amount <> 0
),

-- A line in one currency and usage in another one are the same difference.
ranked as (
    select
        *,
        case when invoiced is null then 'usage' when coalesce(records, 0) = 0 then 'invoice' else 'both' end as side,
        row_number() over (
            partition by
                month,
                account_id,
                product,
                case when invoiced is null then 'usage' when coalesce(records, 0) = 0 then 'invoice' else 'both' end
            order by coalesce(invoiced, expected) desc, coalesce(invoice_currency, usage_currency)
        ) as place
    from matched
),

joined as (
    select
        line.month,
        line.account_id,
        line.product,
        line.invoice_currency,
        coalesce(other.usage_currency, line.usage_currency) as usage_currency,
        line.billed_on,
        line.invoices,
        line.lines,
        line.one_amount,
        line.is_one_amount,
        line.invoiced_quantity,
        line.invoiced,
        coalesce(other.records, line.records, 0) as records,
        coalesce(other.quantity, line.quantity, 0) as quantity,
        coalesce(other.expected, line.expected, 0) as expected,
        coalesce(line.counted_elsewhere, 0) as counted_elsewhere,
        coalesce(line.late, 0) as late,
        coalesce(line.utc_month, 0) as utc_month,
        coalesce(line.month_before, 0) as month_before,
        coalesce(line.month_after, 0) as month_after,
        other.month is not null as is_other_currency
    from ranked as line
    left join ranked as other
        on line.side = 'invoice'
        and other.side = 'usage'
        and line.month = other.month
        and line.account_id = other.account_id
        and line.product = other.product
        and line.place = other.place
        -- Its own month comes first: a shifted line in the right currency has usage, but in another month.
        and line.month_before is null
    where line.side <> 'usage'

    union all

    select
        line.month,
        line.account_id,
        line.product,
        line.invoice_currency,
        line.usage_currency,
        line.billed_on,
        line.invoices,
        line.lines,
        line.one_amount,
        line.is_one_amount,
        line.invoiced_quantity,
        line.invoiced,
        line.records,
        line.quantity,
        line.expected,
        line.counted_elsewhere,
        line.late,
        line.utc_month,
        line.month_before,
        line.month_after,
        false as is_other_currency
    from ranked as line
    left join ranked as other
        on other.side = 'invoice'
        and line.month = other.month
        and line.account_id = other.account_id
        and line.product = other.product
        and line.place = other.place
        and other.month_before is null
    where line.side = 'usage' and other.month is null
),

loaded as (
    select distinct product from {{ ref('fct_vonage__usage') }}
),

-- Of all products together, because one product may have no traffic for weeks.
loaded_time as (
    select min(started_at) as first_at, max(started_at) as last_at from {{ ref('fct_vonage__usage') }}
),

compared as (
    select
        joined.*,
        periods.invoice,
        periods.time_zone,
        periods.problem,
        case
            when periods.problem is null and not joined.is_other_currency
                then coalesce(joined.invoiced, 0) - joined.expected
        end as difference,
        greatest(
            {{ var('vonage_tolerance') }},
            {{ var('vonage_tolerance_share') }} * abs(joined.expected)
        ) as tolerance,
        periods.is_by_account
        and joined.account_id not in (select lines.account_id from lines where lines.month = joined.month) as is_other_account,
        joined.product in ({{ vonage_reports.product_names() }}) as is_product,
        joined.product in (select loaded.product from loaded) as is_loaded,
        loaded_time.first_at > invoices.starts_at + interval '1 day'
        or loaded_time.last_at < invoices.ends_at - interval '1 day' as is_part
    from joined
    inner join periods on joined.month = periods.month
    inner join invoices on joined.month = invoices.month
    cross join loaded_time
),

judged as (
    select
        compared.*,
        compared.invoices > 1
        and exists (
            select 1
            from billed_by_invoice as alone
            where alone.month = compared.month
                and alone.account_id = compared.account_id
                and alone.product = compared.product
                and alone.currency = compared.invoice_currency
                and abs(alone.amount - compared.expected) <= compared.tolerance
        ) as is_one_invoice_equal
    from compared
)

select
    invoice,
    month,
    time_zone,
    nullif(account_id, '') as account_id,
    product,
    coalesce(nullif(invoice_currency, ''), nullif(usage_currency, '')) as currency,
    nullif(usage_currency, '') as usage_currency,
    billed_on,
    lines,
    invoiced_quantity,
    case when problem is null then quantity end as quantity,
    invoiced,
    case when problem is null then expected end as expected,
    difference,
    coalesce(abs(difference) <= tolerance, false) as is_equal,
    case
        when problem is not null then problem
        when abs(difference) <= tolerance then null
        when is_other_currency and usage_currency = '' then 'currency unknown: usage has none'
        when is_other_currency then 'another currency'
        when invoiced is null and is_other_account then 'no line for this account'
        when invoiced is null and product = 'REPORTS-USAGE' then 'REPORTS-USAGE: rows of reports are not on the invoice'
        when invoiced is null and usage_currency = '' then 'currency unknown: usage has none'
        when invoiced is null then 'missing line'
        when lines > 1 and is_one_amount and abs(one_amount - expected) <= tolerance then 'line more than once'
        when is_one_invoice_equal then 'several invoices: one of them agrees alone'
        when counted_elsewhere > 0 and abs(difference - counted_elsewhere) <= tolerance then 'double counting'
        when time_zone <> 'UTC' and abs(invoiced - utc_month) <= tolerance then 'time zone'
        when late > 0 and abs(difference + late) <= tolerance then 'late rows'
        when abs(invoiced - month_before) <= tolerance then 'another month: the one before'
        when abs(invoiced - month_after) <= tolerance then 'another month: the one after'
        when records = 0 and not is_product then 'unknown product name'
        when records = 0 and not is_loaded then 'product not loaded'
        when records = 0 then 'no records in this month'
        when product = 'REPORTS-USAGE' then 'REPORTS-USAGE: flat price or free rows'
        when invoiced_quantity = quantity then 'price'
        when difference > 0 and is_part then 'part of the month: no records of its first or last days'
        when late > 0 and difference < 0 and difference >= -late - tolerance then 'late rows, in part'
        when invoiced_quantity is not null then 'quantity'
        else 'unknown'
    end as likely_cause,
    counted_elsewhere,
    late
from judged
