{#- One row per game and day on which somebody played: how many did, that day and in the days before
    it, and how many came back. A day's figures hang on the 29 days before it, so a row is formed
    anew when a player's day of those arrives, or goes. -#}
{{
    config(
        unique_key = ['activity_date', 'game_id'],
        prune_by = 'activity_date',
        rewrites = ['activity_date', 'game_id'],
        clustered_by = ['activity_date']
    )
}}

with

player_days as (

    select *
    from {{ ref('game_player_days') }}
    where
        {{ is_near_news('game_player_days', 'activity_date', 29) }}
        or {{ is_near_news('game_moves', 'left_at', 29, day='activity_date') }}

),

days_with_news as (

    select
        game_id,
        activity_date
    from player_days
    where {{ is_new('_batch_id') }}

    union distinct

    select
        game_id,
        cast(left_at as date) as activity_date
    from {{ ref('game_moves') }}
    where is_play and {{ has_moved('_batch_id') }}

),

days_to_form as (

    select distinct
        game_id,
        explode(sequence(activity_date, date_add(activity_date, 29))) as activity_date
    from days_with_news

),

-- how long each of a player's days is the last one so far
spans as (

    select
        game_id,
        player_id,
        activity_date,
        sessions,
        lag(activity_date) over each_player as previous_date,
        least(
            date_add(activity_date, 29),
            date_sub(lead(activity_date) over each_player, 1)
        ) as last_date,
        _batch_id
    from player_days
    window each_player as (partition by game_id, player_id order by activity_date)

),

reach as (

    select
        game_id,
        player_id,
        explode(sequence(activity_date, last_date)) as activity_date,
        activity_date as played_on,
        previous_date,
        sessions,
        _batch_id
    from spans

),

reach_to_form as (

    select
        days_to_form.game_id,
        days_to_form.activity_date,
        reach.player_id,
        reach.previous_date,
        reach.sessions,
        reach._batch_id,
        datediff(reach.activity_date, reach.played_on) as days_since
    from days_to_form
    left outer join reach
        on
            days_to_form.game_id = reach.game_id
            and days_to_form.activity_date = reach.activity_date

),

players as (

    select
        game_id,
        player_id,
        first_active_on
    from {{ ref('game_players') }}

),

reach_with_first_day as (

    select
        reach_to_form.*,
        players.first_active_on
    from reach_to_form
    left outer join players
        on
            reach_to_form.game_id = players.game_id
            and reach_to_form.player_id = players.player_id

),

players_daily as (

    select
        activity_date,
        game_id,
        count_if(days_since = 0) as dau,
        count_if(days_since < 7) as wau,
        count(player_id) as mau,
        count_if(days_since = 0) / count(player_id) as stickiness,
        count_if(days_since = 0 and first_active_on = activity_date) as new_players,
        count_if(days_since = 0 and previous_date = date_sub(activity_date, 1))
            as retained_players,
        coalesce(sum(sessions) filter (where days_since = 0), 0) as sessions,
        -- none where nobody played
        case when count_if(days_since = 0) > 0 then max(_batch_id) end as _batch_id
    from reach_with_first_day
    group by activity_date, game_id
    {%- if not is_incremental() %}
    having count_if(days_since = 0) > 0
    {%- endif %}

)

select * from players_daily
