{#- One row per ticker and session: the last delivery of the bar, in whatever order they came. -#}
{%- set delivery_order = [
    'updated', '_modified_at', '_bucket', '_key', '_version', '_ordinal'
] -%}
{{
    config(
        unique_key = ['ticker', 'price_date'],
        prune_by = 'price_date',
        latest_by = delivery_order,
        clustered_by = ['ticker', 'price_date']
    )
}}

with

fit_deliveries as (

    select
        ticker,
        price_date,
        open,
        high,
        low,
        close,
        volume,
        adj_close,
        currency,
        updated,
        _bucket,
        _key,
        _version,
        _ordinal,
        _modified_at,
        _batch_id
    from {{ ref('stocks_daily_prices_parsed') }}
    where
        reject_reason is null
        and {{ is_new('_batch_id') }}

),

ranked_deliveries as (

    select
        *,
        max(_batch_id) over (partition by ticker, price_date) as _newest_batch_id,
        row_number() over (
            partition by ticker, price_date
            order by {{ delivery_order | join(' desc, ') }} desc
        ) as delivery_rank
    from fit_deliveries

),

stocks_daily_prices as (

    select
        ticker,
        price_date,
        open,
        high,
        low,
        close,
        volume,
        adj_close,
        currency,
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

select * from stocks_daily_prices
