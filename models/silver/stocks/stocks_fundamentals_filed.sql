{#- One row per ticker, fiscal period, filing date and filing type: the last delivery of what
    that filing said, in whatever order they came. -#}
{%- set key = ['ticker', 'fiscal_period', 'filed_date', 'filing_type'] -%}
{%- set delivery_order = [
    'updated', '_modified_at', '_bucket', '_key', '_version', '_ordinal'
] -%}
{{
    config(
        unique_key = key,
        prune_by = 'filed_date',
        latest_by = delivery_order,
        clustered_by = ['ticker', 'filed_date']
    )
}}

with

fit_deliveries as (

    select
        ticker,
        fiscal_period,
        filed_date,
        filing_type,
        period_start,
        period_end,
        fiscal_year,
        fiscal_quarter,
        eps_basic_net,
        eps_diluted_net,
        currency,
        source,
        verified,
        updated,
        _bucket,
        _key,
        _version,
        _ordinal,
        _modified_at,
        _batch_id
    from {{ ref('stocks_fundamentals_parsed') }}
    where
        reject_reason is null
        and {{ is_new('_batch_id') }}

),

ranked_deliveries as (

    select
        *,
        max(_batch_id) over (partition by {{ key | join(', ') }}) as _newest_batch_id,
        row_number() over (
            partition by {{ key | join(', ') }}
            order by {{ delivery_order | join(' desc, ') }} desc
        ) as delivery_rank
    from fit_deliveries

),

stocks_fundamentals_filed as (

    select
        ticker,
        fiscal_period,
        filed_date,
        filing_type,
        period_start,
        period_end,
        fiscal_year,
        fiscal_quarter,
        eps_basic_net,
        eps_diluted_net,
        currency,
        source,
        verified,
        updated,
        _bucket,
        _key,
        _version,
        _ordinal,
        _modified_at,
        _newest_batch_id as _batch_id
    from ranked_deliveries
    where delivery_rank = 1

)

select * from stocks_fundamentals_filed
