-- One row per session of the chosen ticker on which the newest known quarter earned something:
-- gold.viewPE, a view that Spark alone can read.
select
    price_date,
    close / eps_basic_net as pe
from gold.priceWithFundamentals
where
    ticker = getvariable('ticker')
    and eps_basic_net > 0
    -- NaN is greater than zero
    and not isnan(eps_basic_net)
order by price_date
