-- One row per ticker: its newest session, with the price-earnings ratio of four quarters.
with

sessions as (

    select
        ticker,
        price_date,
        close,
        pe_ttm,
        null_reason,
        lag(close) over (partition by ticker order by price_date) as previous_close,
        row_number() over (partition by ticker order by price_date desc) as place
    from gold.price_earnings_ttm

),

stock_tickers as (

    select
        ticker,
        price_date,
        close,
        close / previous_close - 1 as change,
        pe_ttm,
        null_reason
    from sessions
    where place = 1

)

select *
from stock_tickers
order by ticker
