{#- One row per ticker: the mean of its raw closes. -#}
{{
    config(
        unique_key = ['ticker'],
        clustered_by = ['ticker']
    )
}}

with

prices as (

    select
        ticker,
        close,
        _prices_batch_id
    from {{ ref('priceWithFundamentals') }}

),

tickers_with_new_prices as (

    select distinct ticker
    from prices
    where {{ is_new('_prices_batch_id', cursor='_prices_batch_id') }}

),

prices_to_average as (

    select prices.*
    from prices
    left semi join tickers_with_new_prices
        on prices.ticker = tickers_with_new_prices.ticker

),

average_close as (

    select
        ticker,
        -- in decimals, because a sum of doubles depends on the order of its terms
        cast(avg(cast(close as decimal(18, 6))) as double) as Average_Close,
        max(_prices_batch_id) as _prices_batch_id
    from prices_to_average
    group by ticker

)

select * from average_close
