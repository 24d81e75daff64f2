{#- One row per ticker and session: the price over the earnings of the latest four quarters known
    on that day, each on the share count of that day, with the filings it rests on. A ratio that
    has no meaning is null and says why. -#}
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
        close,
        currency,
        _batch_id
    from {{ ref('stocks_daily_prices') }}

),

quarters as (

    select
        ticker,
        known_from,
        known_to,
        period_end,
        quarters,
        -- consecutive: each starts within a week of the end of the one before
        size(quarters) = 4
        and forall(
            zip_with(
                slice(quarters, 1, 3),
                slice(quarters, 2, 3),
                (newer, older) -> abs(datediff(newer.period_start, older.period_end)) <= 7
            ),
            is_next -> is_next
        )
        and forall(quarters, quarter -> quarter.eps_diluted_net is not null)
            as is_full_year,
        _quarters_batch_id
    from {{ ref('stocks_quarters_known') }}

),

splits as (

    select
        ticker,
        array_sort(collect_list(struct(split_date, ratio, verified))) as splits
    from {{ ref('stock_splits') }}
    group by ticker

),

sessions as (

    {{ sessions_to_price('prices', 'quarters', '_quarters_batch_id') }}

),

sessions_with_quarters as (

    select
        sessions.ticker,
        sessions.price_date,
        sessions.close,
        sessions.currency,
        quarters.period_end,
        quarters.quarters,
        quarters.is_full_year,
        sessions._batch_id as _prices_batch_id,
        quarters._quarters_batch_id as _fundamentals_batch_id
    from sessions
    left outer join quarters
        on
            sessions.ticker = quarters.ticker
            and sessions.price_date >= quarters.known_from
            and sessions.price_date < quarters.known_to

),

sessions_with_splits as (

    select
        sessions_with_quarters.*,
        filter(
            coalesce(splits.splits, array()),
            split -> split.split_date <= sessions_with_quarters.price_date
        ) as splits
    from sessions_with_quarters
    left outer join splits
        on sessions_with_quarters.ticker = splits.ticker

),

quarters_on_price_basis as (

    select
        *,
        -- a filing speaks of the shares of its own day: what split after it is divided out
        transform(
            quarters,
            quarter -> struct(
                quarter.fiscal_period,
                quarter.filing_type,
                quarter.filed_date,
                quarter.eps_diluted_net,
                quarter.source,
                quarter.verified,
                filter(splits, split -> split.split_date > quarter.filed_date)
                    as splits,
                aggregate(
                    filter(splits, split -> split.split_date > quarter.filed_date),
                    cast(1 as decimal(18, 6)),
                    (factor, split) -> cast(factor * split.ratio as decimal(18, 6))
                ) as split_factor
            )
        ) as adjusted_quarters
    from sessions_with_splits

),

earnings as (

    select
        *,
        case
            when is_full_year
                then
                    aggregate(
                        adjusted_quarters,
                        cast(0 as decimal(24, 12)),
                        (total, quarter) -> cast(
                            total + quarter.eps_diluted_net / quarter.split_factor
                            as decimal(24, 12)
                        )
                    )
        end as eps_ttm
    from quarters_on_price_basis

),

judged as (

    select
        *,
        case
            when quarters is null then 'no_data'
            when datediff(price_date, period_end) > {{ var('stale_after_days') }}
                then 'stale'
            when not is_full_year then 'missing_quarter'
            when exists(quarters, quarter -> quarter.currency <> earnings.currency)
                then 'currency_mismatch'
            when eps_ttm <= 0 then 'non_positive'
        end as null_reason
    from earnings

),

price_earnings_ttm as (

    select
        ticker,
        price_date,
        cast(close as double) as close,
        case
            when coalesce(null_reason, 'non_positive') = 'non_positive'
                then cast(eps_ttm as double)
        end as eps_ttm,
        case
            when null_reason is null then cast(close as double) / cast(eps_ttm as double)
        end as pe_ttm,
        case
            when coalesce(null_reason, 'non_positive') = 'non_positive'
                then cast(eps_ttm as double) / cast(close as double)
        end as earnings_yield,
        null_reason,
        period_end,
        -- of the oldest of the quarters, the one with the most splits after it
        cast(element_at(adjusted_quarters, -1).split_factor as double) as split_factor,
        forall(
            adjusted_quarters,
            quarter -> quarter.verified and forall(quarter.splits, split -> split.verified)
        ) as all_verified,
        transform(
            adjusted_quarters,
            quarter -> concat(
                quarter.fiscal_period,
                ' ', quarter.filing_type, ' filed ', quarter.filed_date,
                ': ', coalesce(cast(cast(quarter.eps_diluted_net as double) as string), 'none'),
                ' / ', cast(quarter.split_factor as double),
                ' (', coalesce(quarter.source, 'no source given'), ')'
            )
        ) as filings,
        _prices_batch_id,
        _fundamentals_batch_id
    from judged

)

select * from price_earnings_ttm
