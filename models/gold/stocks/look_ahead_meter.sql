{#- One row per ticker: what a join on the period's end would have done to the ratio of viewPE. -#}
{{ config(materialized = 'view') }}

with

sessions as (

    select
        ticker,
        price_date,
        eps_basic_net
    from {{ ref('stocksDailyPricesWFund') }}

),

quarters_as_last_known as (

    select
        ticker,
        period_end,
        known_from,
        eps_basic_net
    from {{ ref('stocks_fundamentals') }}
    where
        fiscal_quarter <> 'FY'
        and known_to = date '9999-12-31'

),

quarters_until_next as (

    select
        *,
        lead(period_end, 1, date '9999-12-31') over (
            partition by ticker order by period_end, known_from
        ) as next_period_end
    from quarters_as_last_known

),

sessions_joined_on_period_end as (

    select
        sessions.ticker,
        quarters_until_next.ticker is not null as is_joined,
        quarters_until_next.known_from > sessions.price_date as is_leak,
        -- the price cancels out: (close / theirs) / (close / ours) - 1
        case
            when sessions.eps_basic_net > 0 and quarters_until_next.eps_basic_net > 0
                then
                    abs(
                        sessions.eps_basic_net
                        / cast(quarters_until_next.eps_basic_net as double) - 1
                    )
        end as pe_error
    from sessions
    left outer join quarters_until_next
        on
            sessions.ticker = quarters_until_next.ticker
            and sessions.price_date >= quarters_until_next.period_end
            and sessions.price_date < quarters_until_next.next_period_end

),

look_ahead_meter as (

    select
        ticker,
        count(*) as sessions_priced,
        count_if(is_joined) as sessions_joined,
        count_if(is_leak) as sessions_leaked,
        count_if(is_leak) / nullif(count_if(is_joined), 0) as leaked_share,
        count_if(is_leak and pe_error is not null) as leaked_sessions_compared,
        avg(case when is_leak then pe_error end) as mean_pe_error,
        max(case when is_leak then pe_error end) as max_pe_error
    from sessions_joined_on_period_end
    group by ticker

)

select * from look_ahead_meter
