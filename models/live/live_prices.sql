{#- One row per five minutes of arrival and ticker: the newest session's bar that came in them. -#}
{{
    config(
        group = 'stocks',
        unique_key = ['window_start', 'ticker'],
        prune_by = 'window_start',
        clustered_by = ['window_start'],
        trigger_seconds = 2
    )
}}

with

bars as (

    select
        _modified_at,
        ticker,
        -- compared field by field: the newest session, and of its deliveries the last
        struct(
            price_date, updated, _modified_at, _bucket, _key, _version, _ordinal,
            close, volume, currency
        ) as bar
    from {{ stream(
        ref('stocks_daily_prices_parsed'),
        event_time='_modified_at',
        delay='2 minutes',
        where='reject_reason is null'
    ) }} as deliveries

),

newest_bars as (

    select
        window(_modified_at, '5 minutes').start as window_start,
        ticker,
        count(*) as bars,
        max(bar) as bar
    from bars
    group by window(_modified_at, '5 minutes'), ticker

),

live_prices as (

    select
        window_start,
        ticker,
        bar.price_date,
        cast(bar.close as double) as close,
        bar.volume,
        bar.currency,
        bars
    from newest_bars

)

select * from live_prices
