-- One row per session of the chosen ticker: close, and the ratio of four quarters' earnings.
select
    price_date,
    close,
    eps_ttm,
    pe_ttm
from gold.price_earnings_ttm
where ticker = getvariable('ticker')
order by price_date
