with usage as (
    select
        cast(date_trunc('month', usage_date) as date) as month,
        case when coalesce(accounts.is_own, false) then usage.account_id else 'unassigned' end as account_id,
        usage.product,
        usage.country,
        usage.unit,
        usage.currency,
        usage.quantity,
        usage.total_price,
        usage.may_be_in
    from {{ ref('fct_vonage__usage') }} as usage
    left join {{ ref('dim_vonage__account') }} as accounts on usage.account_id = accounts.account_id
    where usage.is_counted
),

traffic as (
    select
        month,
        account_id,
        product,
        country,
        unit,
        currency,
        count(*) as records,
        coalesce(sum(quantity), 0) as all_units,
        coalesce(sum(quantity) filter (where total_price > 0), 0) as charged_units,
        coalesce(sum(total_price), 0) as cost,
        count(may_be_in) as doubtful_records,
        coalesce(sum(total_price) filter (where may_be_in is not null), 0) as doubtful_cost,
        row_number() over (order by month, account_id, product, country, unit, currency) as traffic_id
    from usage
    group by month, account_id, product, country, unit, currency
),

typed_plans as (
    {{ vonage_reports.price_plans() }}
),

plans as (
    select
        *,
        -- Not divided, because a quotient is a binary fraction in DuckDB.
        cast(1 + markup_percent * 0.01 as numeric(10, 6)) as factor,
        row_number() over (order by account_id, product, country, valid_from) as plan_id,
        case when account_id is null then 0 else 4 end
        + case when product is null then 0 else 2 end
        + case when country is null then 0 else 1 end as specificity
    from typed_plans
),

candidates as (
    select
        traffic.traffic_id,
        plans.plan_id,
        row_number() over (
            partition by traffic.traffic_id
            order by plans.specificity desc, plans.valid_from desc nulls last, plans.plan_id
        ) as place
    from traffic
    inner join plans
        on coalesce(plans.account_id, traffic.account_id) = traffic.account_id
        and coalesce(plans.product, traffic.product) = traffic.product
        and (plans.country is null or plans.country = traffic.country)
        and (plans.valid_from is null or plans.valid_from <= traffic.month)
        and (plans.valid_to is null or plans.valid_to >= traffic.month)
),

lines as (
    select
        traffic.month,
        traffic.account_id,
        traffic.product,
        plans.country,
        traffic.unit,
        traffic.currency,
        plans.plan_id,
        coalesce(plans.markup_percent, 0) as markup_percent,
        coalesce(plans.factor, 1) as factor,
        coalesce(plans.fee_per_unit, 0) as fee_per_unit,
        coalesce(plans.free_units, 0) as free_units,
        sum(traffic.records) as records,
        sum(traffic.all_units) as all_units,
        sum(case when plans.units = 'all' then traffic.all_units else traffic.charged_units end) as units,
        {{ vonage_reports.billable('sum(traffic.cost)') }} as cost,
        sum(traffic.doubtful_records) as doubtful_records,
        {{ vonage_reports.billable('sum(traffic.doubtful_cost)') }} as doubtful_cost
    from traffic
    left join candidates on traffic.traffic_id = candidates.traffic_id and candidates.place = 1
    left join plans on candidates.plan_id = plans.plan_id
    group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
)

select
    month,
    account_id,
    product,
    country,
    unit,
    currency,
    plan_id is not null as has_plan,
    markup_percent,
    fee_per_unit,
    free_units,
    records,
    all_units,
    units,
    greatest(units - free_units, 0) as billed_units,
    cost,
    doubtful_records,
    doubtful_cost,
    round(
        cost * factor
        + cast(fee_per_unit as numeric(18, 8)) * cast(greatest(units - free_units, 0) as numeric(18, 0)),
        {{ var('vonage_billing_digits') }}
    ) as amount
from lines
