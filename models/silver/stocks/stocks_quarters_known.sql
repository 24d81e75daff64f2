{#- One row per ticker and day on which a quarter's figures became known, or known anew: the
    newest quarters as they stood from that day until the next such day.

    Everything point-in-time is decided here, so that a price needs only one join, on
    [known_from, known_to). Whole years never enter: they would be counted beside their own
    quarters. When a filing arrives, all rows of its ticker are made anew; none can disappear,
    because each day comes from a filing date.

    A batch number covers all that was published since a quarter's end, not only what is shown.
    What a correction pushes out of its place stood there with a later end and was filed after
    it, so it is covered still: wherever a row changes, its batch number grows. -#}
{{
    config(
        unique_key = ['ticker', 'known_from'],
        prune_by = 'known_from',
        clustered_by = ['ticker', 'known_from']
    )
}}

with

quarters as (

    select
        ticker,
        fiscal_period,
        period_start,
        period_end,
        known_from,
        known_to,
        eps_basic_net,
        eps_diluted_net,
        filing_type,
        filed_date,
        currency,
        source,
        verified,
        _batch_id
    from {{ ref('stocks_fundamentals') }}
    where fiscal_quarter <> 'FY'

),

tickers_with_new_filings as (

    select distinct ticker
    from quarters
    where {{ is_new('_batch_id') }}

),

quarters_to_reprocess as (

    select quarters.*
    from quarters
    left semi join tickers_with_new_filings
        on quarters.ticker = tickers_with_new_filings.ticker

),

days as (

    select
        ticker,
        known_from,
        lead(known_from, 1, date '9999-12-31') over (
            partition by ticker order by known_from
        ) as known_to
    from quarters_to_reprocess
    group by ticker, known_from

),

versions_published_by_day as (

    select
        days.ticker,
        days.known_from,
        days.known_to,
        -- the fields before the others are the order: newest period first
        array_sort(
            collect_list(struct(
                quarters_to_reprocess.period_end,
                quarters_to_reprocess.known_from,
                quarters_to_reprocess.fiscal_period,
                quarters_to_reprocess.known_to > days.known_from as is_current,
                quarters_to_reprocess.period_start,
                quarters_to_reprocess.filing_type,
                quarters_to_reprocess.filed_date,
                quarters_to_reprocess.eps_basic_net,
                quarters_to_reprocess.eps_diluted_net,
                quarters_to_reprocess.currency,
                quarters_to_reprocess.source,
                quarters_to_reprocess.verified,
                quarters_to_reprocess._batch_id
            )),
            (one, other) -> case
                when one > other then -1
                when one < other then 1
                else 0
            end
        ) as versions
    from days
    inner join quarters_to_reprocess
        on
            days.ticker = quarters_to_reprocess.ticker
            and days.known_from >= quarters_to_reprocess.known_from
    group by days.ticker, days.known_from, days.known_to

),

newest_quarters_by_day as (

    select
        ticker,
        known_from,
        known_to,
        slice(filter(versions, version -> version.is_current), 1, 4) as quarters,
        versions
    from versions_published_by_day

),

stocks_quarters_known as (

    select
        ticker,
        known_from,
        known_to,
        quarters[0].fiscal_period as fiscal_period,
        quarters[0].period_end as period_end,
        quarters[0].eps_basic_net as eps_basic_net,
        quarters[0].eps_diluted_net as eps_diluted_net,
        quarters[0].filing_type as filing_type,
        quarters[0].filed_date as filed_date,
        quarters[0].verified as verified,
        transform(
            quarters,
            quarter -> struct(
                quarter.fiscal_period,
                quarter.period_start,
                quarter.period_end,
                quarter.filing_type,
                quarter.filed_date,
                quarter.eps_diluted_net,
                quarter.currency,
                quarter.source,
                quarter.verified
            )
        ) as quarters,
        array_max(transform(
            filter(versions, version -> version.known_from > quarters[0].period_end),
            version -> version._batch_id
        )) as _batch_id,
        array_max(transform(
            filter(versions, version -> version.known_from > element_at(quarters, -1).period_end),
            version -> version._batch_id
        )) as _quarters_batch_id
    from newest_quarters_by_day

)

select * from stocks_quarters_known
