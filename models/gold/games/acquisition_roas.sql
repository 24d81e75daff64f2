{#- One row per game, network, campaign and number of days: what all players that the campaign
    brought so long ago or longer cost, and what they have brought by the same age. A view, for the
    reason given in retention_cohorts. -#}
{{ config(materialized = 'view') }}

with

cohort_days as (

    select
        game_id,
        cohort_date,
        day_number
    from {{ ref('retention_cohorts') }}

),

players as (

    select
        game_id,
        player_id,
        first_active_on as cohort_date,
        coalesce(network, '') as network,
        coalesce(campaign, '') as campaign
    from {{ ref('game_players') }}

),

payments as (

    select *
    from {{ ref('game_payments') }}
    where is_counted

),

installs as (

    select
        game_id,
        cohort_date,
        network,
        campaign,
        count(*) as players
    from players
    group by game_id, cohort_date, network, campaign

),

installs_by_age as (

    select
        installs.*,
        cohort_days.day_number
    from installs
    inner join cohort_days
        on
            installs.game_id = cohort_days.game_id
            and installs.cohort_date = cohort_days.cohort_date

),

payments_by_age as (

    select
        players.game_id,
        players.cohort_date,
        players.network,
        players.campaign,
        datediff(payments.happened_on, players.cohort_date) as day_number,
        sum(payments.amount_usd) filter (where payments.kind <> 'install') as net_usd,
        -sum(payments.amount_usd) filter (where payments.kind = 'install') as spend_usd
    from payments
    inner join players
        on
            payments.game_id = players.game_id
            and payments.player_id = players.player_id
    group by
        players.game_id,
        players.cohort_date,
        players.network,
        players.campaign,
        datediff(payments.happened_on, players.cohort_date)

),

to_date as (

    select
        installs_by_age.*,
        coalesce(sum(payments_by_age.net_usd) over age, 0) as net_usd,
        coalesce(sum(payments_by_age.spend_usd) over age, 0) as spend_usd
    from installs_by_age
    left outer join payments_by_age
        on
            installs_by_age.game_id = payments_by_age.game_id
            and installs_by_age.cohort_date = payments_by_age.cohort_date
            and installs_by_age.network = payments_by_age.network
            and installs_by_age.campaign = payments_by_age.campaign
            and installs_by_age.day_number = payments_by_age.day_number
    window age as (
        partition by
            installs_by_age.game_id,
            installs_by_age.cohort_date,
            installs_by_age.network,
            installs_by_age.campaign
        order by installs_by_age.day_number
    )

),

campaigns as (

    select
        game_id,
        network,
        campaign,
        day_number,
        sum(players) as players,
        cast(sum(spend_usd) as double) as spend_usd,
        cast(sum(net_usd) as double) as net_usd
    from to_date
    group by game_id, network, campaign, day_number

),

acquisition_roas as (

    select
        game_id,
        network,
        campaign,
        day_number,
        players,
        spend_usd,
        net_usd,
        net_usd / players as ltv_usd,
        case when spend_usd > 0 then net_usd / spend_usd end as roas
    from campaigns

)

select * from acquisition_roas
