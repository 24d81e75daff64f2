-- One row per day of the chosen game: players, revenue, and the configurations that were new then.
with

configurations as (

    select
        game_id,
        config_version,
        min(played_on) as first_played_on
    from gold.level_funnel
    where config_version <> ''
    group by game_id, config_version

),

first_days as (

    select
        game_id,
        min(played_on) as first_date
    from gold.level_funnel
    group by game_id

),

-- what the game began with is no change
changes as (

    select
        configurations.game_id,
        configurations.first_played_on,
        string_agg(
            configurations.config_version, ', ' order by configurations.config_version
        ) as config_versions
    from configurations
    inner join first_days
        on configurations.game_id = first_days.game_id
    where configurations.first_played_on > first_days.first_date
    group by configurations.game_id, configurations.first_played_on

),

game_days as (

    select
        players.activity_date,
        players.dau,
        players.wau,
        players.mau,
        players.stickiness,
        players.new_players,
        revenue.purchases,
        revenue.gross_usd,
        revenue.refunds_usd,
        revenue.ads_usd,
        revenue.net_usd,
        revenue.arpdau_usd,
        revenue.conversion,
        changes.config_versions
    from gold.players_daily as players
    left outer join gold.revenue_daily as revenue
        on
            players.game_id = revenue.game_id
            and players.activity_date = revenue.revenue_date
    left outer join changes
        on
            players.game_id = changes.game_id
            and players.activity_date = changes.first_played_on
    where players.game_id = getvariable('game')

)

select *
from game_days
order by activity_date
