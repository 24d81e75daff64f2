{#- One row per game, cohort and number of days since its first, as in retention_cohorts: what its
    players have brought by then. A view, for the reason given there. -#}
{{ config(materialized = 'view') }}

with

cohort_days as (

    select
        game_id,
        cohort_date,
        day_number,
        players
    from {{ ref('retention_cohorts') }}

),

players as (

    select
        game_id,
        player_id,
        first_active_on
    from {{ ref('game_players') }}

),

payments as (

    select
        game_id,
        player_id,
        happened_on,
        amount_usd
    from {{ ref('game_payments') }}
    where
        is_counted
        and kind <> 'install'

),

revenue_of_cohorts as (

    select
        players.game_id,
        players.first_active_on as cohort_date,
        datediff(payments.happened_on, players.first_active_on) as day_number,
        sum(payments.amount_usd) as net_usd
    from payments
    inner join players
        on
            payments.game_id = players.game_id
            and payments.player_id = players.player_id
    group by
        players.game_id,
        players.first_active_on,
        datediff(payments.happened_on, players.first_active_on)

),

revenue_to_date as (

    select
        cohort_days.game_id,
        cohort_days.cohort_date,
        cohort_days.day_number,
        cohort_days.players,
        coalesce(sum(revenue_of_cohorts.net_usd) over (
            partition by cohort_days.game_id, cohort_days.cohort_date
            order by cohort_days.day_number
        ), 0) as net_usd
    from cohort_days
    left outer join revenue_of_cohorts
        on
            cohort_days.game_id = revenue_of_cohorts.game_id
            and cohort_days.cohort_date = revenue_of_cohorts.cohort_date
            and cohort_days.day_number = revenue_of_cohorts.day_number

),

ltv_cohorts as (

    select
        game_id,
        cohort_date,
        day_number,
        players,
        cast(net_usd as double) as net_usd,
        cast(net_usd as double) / players as ltv_usd
    from revenue_to_date

)

select * from ltv_cohorts
