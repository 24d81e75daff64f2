{#- One row per game, cohort (players by their first day) and number of days since, for all days
    that have passed since: a day on which nobody of the cohort played has its row, a day that is
    still to come has none. A view: one late event can move a player to another cohort, and with the
    player every later day of two cohorts. -#}
{{ config(materialized = 'view') }}

with

player_days as (

    select
        game_id,
        player_id,
        activity_date
    from {{ ref('game_player_days') }}

),

players as (

    select
        game_id,
        player_id,
        first_active_on
    from {{ ref('game_players') }}

),

last_days as (

    select
        game_id,
        max(activity_date) as last_date
    from player_days
    group by game_id

),

cohorts as (

    select
        game_id,
        first_active_on as cohort_date,
        count(*) as players
    from players
    group by game_id, first_active_on

),

cohort_days as (

    select
        cohorts.game_id,
        cohorts.cohort_date,
        cohorts.players,
        explode(sequence(0, datediff(last_days.last_date, cohorts.cohort_date))) as day_number
    from cohorts
    inner join last_days
        on cohorts.game_id = last_days.game_id

),

active as (

    select
        players.game_id,
        players.first_active_on as cohort_date,
        datediff(player_days.activity_date, players.first_active_on) as day_number,
        count(*) as active_players
    from player_days
    inner join players
        on
            player_days.game_id = players.game_id
            and player_days.player_id = players.player_id
    group by
        players.game_id,
        players.first_active_on,
        datediff(player_days.activity_date, players.first_active_on)

),

retention_cohorts as (

    select
        cohort_days.game_id,
        cohort_days.cohort_date,
        cohort_days.day_number,
        cohort_days.players,
        coalesce(active.active_players, 0) as active_players,
        coalesce(active.active_players, 0) / cohort_days.players as retention
    from cohort_days
    left outer join active
        on
            cohort_days.game_id = active.game_id
            and cohort_days.cohort_date = active.cohort_date
            and cohort_days.day_number = active.day_number

)

select * from retention_cohorts
