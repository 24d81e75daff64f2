{#- One row per ticker and session: the bar, beside the newest quarter known on that day.

    The newest quarter is taken even where its basic earnings were not supplied: an older figure
    in its place would look current. Sessions without any known quarter stay, with nulls. -#}
{{
    config(
        unique_key = ['ticker', 'price_date'],
        prune_by = 'price_date',
        clustered_by = ['ticker', 'price_date']
    )
}}

with

prices as (

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
        _batch_id
    from {{ ref('stocks_daily_prices') }}

),

quarters as (

    select
        ticker,
        known_from,
        known_to,
        fiscal_period,
        period_end,
        eps_basic_net,
        eps_diluted_net,
        filing_type,
        filed_date,
        verified,
        _batch_id
    from {{ ref('stocks_quarters_known') }}

),

sessions as (

    {{ sessions_to_price('prices', 'quarters', '_batch_id') }}

),

stocksDailyPricesWFund as (

    select
        sessions.ticker,
        sessions.price_date,
        cast(sessions.open as double) as open,
        cast(sessions.high as double) as high,
        cast(sessions.low as double) as low,
        cast(sessions.close as double) as close,
        sessions.volume,
        cast(sessions.adj_close as double) as adj_close,
        sessions.currency,
        quarters.fiscal_period,
        quarters.period_end,
        cast(quarters.eps_basic_net as double) as eps_basic_net,
        cast(quarters.eps_diluted_net as double) as eps_diluted_net,
        quarters.filing_type,
        quarters.filed_date,
        quarters.verified,
        sessions._batch_id as _prices_batch_id,
        quarters._batch_id as _fundamentals_batch_id
    from sessions
    left outer join quarters
        on
            sessions.ticker = quarters.ticker
            and sessions.price_date >= quarters.known_from
            and sessions.price_date < quarters.known_to

)

select * from stocksDailyPricesWFund
