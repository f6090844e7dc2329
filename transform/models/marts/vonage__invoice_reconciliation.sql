{%- set within -%}
usage.started_at >= invoices.starts_at and usage.started_at < invoices.ends_at
{%- endset -%}

with seed_lines as (
    select
        cast(invoice as {{ vonage_reports.type_of('text') }}) as invoice,
        cast(date_trunc('month', cast(month as date)) as date) as month,
        coalesce(cast(time_zone as {{ vonage_reports.type_of('text') }}), 'UTC') as time_zone,
        cast(issued_at as timestamp) as issued_at,
        coalesce(cast(account_id as {{ vonage_reports.type_of('text') }}), '') as account_id,
        cast(product as {{ vonage_reports.type_of('text') }}) as product,
        coalesce(cast(currency as {{ vonage_reports.type_of('text') }}), '') as currency,
        cast(quantity as numeric(28, 4)) as quantity,
        cast(amount as numeric(28, 10)) as amount
    from {{ ref(var('vonage_invoices')) }}
),

invoices as (
    select
        invoice,
        month,
        time_zone,
        max(issued_at) as issued_at,
        max(account_id) <> '' as is_by_account,
        cast(month as timestamp) at time zone time_zone at time zone 'UTC' as starts_at,
        cast(month + interval '1 month' as timestamp) at time zone time_zone at time zone 'UTC' as ends_at,
        cast(month - interval '1 month' as timestamp) at time zone time_zone at time zone 'UTC' as before_starts_at,
        cast(month + interval '2 months' as timestamp) at time zone time_zone at time zone 'UTC' as after_ends_at
    from seed_lines
    group by invoice, month, time_zone
),

billed as (
    select
        invoice,
        account_id,
        product,
        currency,
        count(*) as lines,
        sum(quantity) as quantity,
        sum(amount) as amount,
        max(amount) as one_amount,
        count(distinct amount) as amounts
    from seed_lines
    group by invoice, account_id, product, currency
),

-- The month of each invoice in its time zone, and what else an invoice may have billed instead.
used as (
    select
        invoices.invoice,
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
        coalesce(billed.invoice, used.invoice) as invoice,
        coalesce(billed.account_id, used.account_id) as account_id,
        coalesce(billed.product, used.product) as product,
        billed.currency as invoice_currency,
        used.currency as usage_currency,
        billed.lines,
        billed.one_amount,
        billed.amounts,
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
        on billed.invoice = used.invoice
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
                invoice,
                account_id,
                product,
                case when invoiced is null then 'usage' when coalesce(records, 0) = 0 then 'invoice' else 'both' end
            order by coalesce(invoiced, expected) desc, coalesce(invoice_currency, usage_currency)
        ) as place
    from matched
),

joined as (
    select
        line.invoice,
        line.account_id,
        line.product,
        line.invoice_currency,
        coalesce(other.usage_currency, line.usage_currency) as usage_currency,
        line.lines,
        line.one_amount,
        line.amounts,
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
        other.invoice is not null as is_other_currency
    from ranked as line
    left join ranked as other
        on line.side = 'invoice'
        and other.side = 'usage'
        and line.invoice = other.invoice
        and line.account_id = other.account_id
        and line.product = other.product
        and line.place = other.place
        -- Its own month comes first: a shifted line in the right currency has usage, but in another month.
        and line.month_before is null
    where line.side <> 'usage'

    union all

    select
        line.invoice,
        line.account_id,
        line.product,
        line.invoice_currency,
        line.usage_currency,
        line.lines,
        line.one_amount,
        line.amounts,
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
        and line.invoice = other.invoice
        and line.account_id = other.account_id
        and line.product = other.product
        and line.place = other.place
        and other.month_before is null
    where line.side = 'usage' and other.invoice is null
),

compared as (
    select
        joined.*,
        invoices.month,
        invoices.time_zone,
        invoices.issued_at,
        case when not joined.is_other_currency then coalesce(joined.invoiced, 0) - joined.expected end as difference,
        greatest(
            {{ var('vonage_tolerance') }},
            {{ var('vonage_tolerance_share') }} * abs(joined.expected)
        ) as tolerance
    from joined
    inner join invoices on joined.invoice = invoices.invoice
)

select
    invoice,
    month,
    time_zone,
    nullif(account_id, '') as account_id,
    product,
    coalesce(nullif(invoice_currency, ''), nullif(usage_currency, '')) as currency,
    nullif(usage_currency, '') as usage_currency,
    lines,
    invoiced_quantity,
    quantity,
    invoiced,
    expected,
    difference,
    coalesce(abs(difference) <= tolerance, false) as is_equal,
    case
        when abs(difference) <= tolerance then null
        when is_other_currency and usage_currency = '' then 'currency unknown: usage has none'
        when is_other_currency then 'another currency'
        when invoiced is null and product = 'REPORTS-USAGE' then 'REPORTS-USAGE: rows of reports are not on the invoice'
        when invoiced is null then 'missing line'
        when lines > 1 and amounts = 1 and abs(one_amount - expected) <= tolerance then 'line more than once'
        when counted_elsewhere > 0 and abs(difference - counted_elsewhere) <= tolerance then 'double counting'
        when time_zone <> 'UTC' and abs(invoiced - utc_month) <= tolerance then 'time zone'
        when late > 0 and abs(difference + late) <= tolerance then 'late rows'
        when abs(invoiced - month_before) <= tolerance then 'another month: the one before'
        when abs(invoiced - month_after) <= tolerance then 'another month: the one after'
        when records = 0 then 'product not loaded'
        when product = 'REPORTS-USAGE' then 'REPORTS-USAGE: flat price or free rows'
        when invoiced_quantity = quantity then 'price'
        when late > 0 and difference < 0 and difference >= -late - tolerance then 'late rows, in part'
        when invoiced_quantity is not null then 'quantity'
        else 'unknown'
    end as likely_cause,
    counted_elsewhere,
    late
from compared
