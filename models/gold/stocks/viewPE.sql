{#- One row per ticker and session on which the newest known quarter earned something: the
    price-earnings ratio as the blueprint defines it. -#}
{{ config(materialized = 'view') }}

with

priceWithFundamentals as (

    select
        ticker,
        price_date,
        close,
        eps_basic_net
    from {{ ref('priceWithFundamentals') }}

),

viewPE as (

    select
        ticker,
        price_date,
        close as price,
        close / eps_basic_net as pe
    from priceWithFundamentals
    where
        eps_basic_net > 0
        -- NaN is greater than zero
        and not isnan(eps_basic_net)

)

select * from viewPE
