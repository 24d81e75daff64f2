-- One row per filing of the chosen ticker: the day on which it was first used, and its close.
select
    fiscal_period,
    filing_type,
    filed_date,
    eps_basic_net,
    verified,
    min_by(close, price_date) as close_first
from gold.stocksDailyPricesWFund
where
    ticker = getvariable('ticker')
    and filed_date is not null
group by fiscal_period, filing_type, filed_date, eps_basic_net, verified
order by filed_date, fiscal_period
