{#- One row per ticker, fiscal period and day from which a version of its figures is known.

    A version holds on [known_from, known_to). Filings carry a date and no hour, and most come
    after the close, so a figure counts from the day after: the first session after filing, never
    from the period's end. Whenever a filing of a period arrives, all versions of that period are
    made anew. None of them can disappear: filing dates are part of the key they are made from. -#}
{{
    config(
        unique_key = ['ticker', 'fiscal_period', 'known_from'],
        prune_by = 'known_from',
        clustered_by = ['ticker', 'known_from']
    )
}}

with

stocks_fundamentals_filed as (

    select
        ticker,
        fiscal_period,
        period_start,
        period_end,
        fiscal_year,
        fiscal_quarter,
        eps_basic_net,
        eps_diluted_net,
        filing_type,
        filed_date,
        currency,
        source,
        verified,
        _batch_id
    from {{ ref('stocks_fundamentals_filed') }}

),

periods_with_new_filings as (

    select distinct
        ticker,
        fiscal_period
    from stocks_fundamentals_filed
    where {{ is_new('_batch_id') }}

),

filings_to_reprocess as (

    select stocks_fundamentals_filed.*
    from stocks_fundamentals_filed
    left semi join periods_with_new_filings
        on
            stocks_fundamentals_filed.ticker = periods_with_new_filings.ticker
            and stocks_fundamentals_filed.fiscal_period
            = periods_with_new_filings.fiscal_period

),

filings_ranked_within_day as (

    select
        *,
        max(_batch_id) over (
            partition by ticker, fiscal_period, filed_date
        ) as _newest_batch_id,
        -- an amendment beats the report, the report beats the press release
        row_number() over (
            partition by ticker, fiscal_period, filed_date
            order by
                case
                    when endswith(filing_type, '/A') then 3
                    when filing_type = '8-K' then 1
                    else 2
                end desc,
                filing_type desc
        ) as day_rank
    from filings_to_reprocess

),

stocks_fundamentals as (

    select
        ticker,
        fiscal_period,
        date_add(filed_date, 1) as known_from,
        -- a far day instead of null: `price_date < known_to` then needs no care
        lead(date_add(filed_date, 1), 1, date '9999-12-31') over (
            partition by ticker, fiscal_period order by filed_date
        ) as known_to,
        period_start,
        period_end,
        fiscal_year,
        fiscal_quarter,
        eps_basic_net,
        eps_diluted_net,
        filing_type,
        filed_date,
        currency,
        source,
        verified,
        _newest_batch_id as _batch_id
    from filings_ranked_within_day
    where day_rank = 1

)

select * from stocks_fundamentals
