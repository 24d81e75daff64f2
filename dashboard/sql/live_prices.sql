-- One row per ticker: the bar that came last, minutes before silver and gold have it.
with

windows as (

    select
        *,
        row_number() over (partition by ticker order by window_start desc) as place
    from gold.live_prices

)

select
    ticker,
    window_start,
    price_date,
    close,
    volume
from windows
where place = 1
order by ticker
