{#- One row per player: day 0 is the day of the first event of any kind, whether the player
    registered then, several times or never. -#}
{{
    config(
        unique_key = ['game_id', 'player_id'],
        clustered_by = ['game_id', 'player_id'],
        access = 'protected'
    )
}}

with

player_days as (

    select *
    from {{ ref('game_player_days') }}

),

installs as (

    select
        game_id,
        player_id,
        min_by(
            struct(network, campaign, cost_minor, currency), struct(event_at, event_id)
        ) as install,
        max(_batch_id) as _installs_batch_id
    from {{ ref('game_app_install') }}
    where player_id is not null
    group by game_id, player_id

),

players_with_news as (

    select
        game_id,
        player_id
    from player_days
    where {{ is_new('_batch_id') }}
    union distinct
    select
        game_id,
        player_id
    from installs
    where {{ is_new('_installs_batch_id', '_installs_batch_id') }}

),

players as (

    select
        player_days.game_id,
        player_days.player_id,
        min(player_days.activity_date) as first_active_on,
        max(player_days.activity_date) as last_active_on,
        count(*) as active_days,
        min(player_days.registered_at) as registered_at,
        min_by(player_days.platform, player_days.activity_date) as platform,
        min_by(player_days.country, player_days.activity_date) as country,
        max(player_days._batch_id) as _batch_id
    from player_days
    left semi join players_with_news
        on
            player_days.game_id = players_with_news.game_id
            and player_days.player_id = players_with_news.player_id
    group by player_days.game_id, player_days.player_id

),

game_players as (

    select
        players.game_id,
        players.player_id,
        players.first_active_on,
        players.last_active_on,
        players.active_days,
        players.registered_at,
        players.platform,
        players.country,
        installs.install.network,
        installs.install.campaign,
        installs.install.cost_minor as install_cost_minor,
        installs.install.currency as install_currency,
        players._batch_id,
        installs._installs_batch_id
    from players
    left outer join installs
        on
            players.game_id = installs.game_id
            and players.player_id = installs.player_id

)

select * from game_players
