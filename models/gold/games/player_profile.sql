{#- One row per player and day, UTC, before which they had played within a week: what was known of
    them when that day began, by which it can be foretold who leaves. Each day is profiled as soon as
    the game has an event of it, and anew when an event of the 28 days before arrives late. -#}
{%- set reach_days, window_days = 7, 28 -%}
{{
    config(
        unique_key = ['profile_date', 'game_id', 'player_id'],
        prune_by = 'profile_date',
        clustered_by = ['profile_date', 'player_id']
    )
}}
{%- set counts = [
    'events', 'levels_completed', 'levels_failed', 'levels_quit', 'matches', 'matchmakings',
    'offers_shown', 'offers_refused', 'purchases', 'payments_failed', 'ads', 'crashes', 'waited_s',
] %}

with

player_days as (

    select *
    from {{ ref('game_player_days') }}
    where {{ is_near_news('game_player_days', 'activity_date', window_days) }}

),

player_days_with_news as (

    select
        game_id,
        player_id,
        activity_date
    from player_days
    where {{ is_new('_batch_id') }}

),

games as (

    select
        game_id,
        min(activity_date) as first_date,
        max(activity_date) as newest_date
    from player_days
    group by game_id

),

dates_of_games as (

    select
        game_id,
        explode(sequence(first_date, newest_date)) as profile_date
    from games

),

profiled_dates as (

    {% if is_incremental() -%}
    select distinct
        game_id,
        profile_date
    from {{ this }}
    {%- else -%}
    select
        game_id,
        profile_date
    from dates_of_games
    where false
    {%- endif %}

),

new_dates as (

    select dates_of_games.*
    from dates_of_games
    left anti join profiled_dates
        on
            dates_of_games.game_id = profiled_dates.game_id
            and dates_of_games.profile_date = profiled_dates.profile_date

),

-- who had played within a week before a day
reach as (

    select distinct
        game_id,
        player_id,
        explode(
            sequence(date_add(activity_date, 1), date_add(activity_date, {{ reach_days }}))
        ) as profile_date
    from player_days

),

reach_of_new_dates as (

    select reach.*
    from reach
    left semi join new_dates
        on
            reach.game_id = new_dates.game_id
            and reach.profile_date = new_dates.profile_date

),

reach_of_late_news as (

    select reach.*
    from reach
    inner join games
        on
            reach.game_id = games.game_id
            and reach.profile_date <= games.newest_date
    left semi join player_days_with_news
        on
            reach.game_id = player_days_with_news.game_id
            and reach.player_id = player_days_with_news.player_id
            and reach.profile_date between date_add(player_days_with_news.activity_date, 1)
            and date_add(player_days_with_news.activity_date, {{ window_days }})

),

profiles_to_form as (

    select *
    from reach_of_new_dates

    union distinct

    select
        game_id,
        player_id,
        profile_date
    from reach_of_late_news

),

players as (

    select
        game_id,
        player_id,
        first_active_on,
        platform,
        country,
        network
    from {{ ref('game_players') }}

),

days_before as (

    select
        profiles_to_form.profile_date,
        datediff(profiles_to_form.profile_date, player_days.activity_date) as days_ago,
        player_days.*
    from profiles_to_form
    inner join player_days
        on
            profiles_to_form.game_id = player_days.game_id
            and profiles_to_form.player_id = player_days.player_id
            and profiles_to_form.profile_date > player_days.activity_date
            and date_sub(profiles_to_form.profile_date, {{ window_days }})
            <= player_days.activity_date

),

activity as (

    select
        profile_date,
        game_id,
        player_id,
        min(days_ago) as days_since_played,
        count_if(days_ago <= 7) as active_days_7,
        count_if(days_ago between 8 and 14) as active_days_7_before,
        count(*) as active_days_28,
        coalesce(sum(sessions) filter (where days_ago <= 7), 0) as sessions_7,
        sum(sessions) as sessions_28,
        min_by(sessions, days_ago) as sessions_of_last_day,
        {%- for name in counts %}
        coalesce(sum({{ name }}) filter (where days_ago <= 7), 0) as {{ name }}_7,
        {%- endfor %}
        coalesce(sum(purchases), 0) as purchases_28,
        coalesce(min_by(levels_failed, days_ago), 0) as levels_failed_of_last_day,
        max(_batch_id) as _batch_id
    from days_before
    group by profile_date, game_id, player_id

),

player_profile as (

    select
        activity.profile_date,
        activity.game_id,
        activity.player_id,
        activity.days_since_played,
        datediff(activity.profile_date, players.first_active_on) as tenure_days,
        activity.active_days_7,
        activity.active_days_7_before,
        activity.active_days_28,
        activity.sessions_7,
        activity.sessions_28,
        activity.sessions_of_last_day,
        {%- for name in counts %}
        activity.{{ name }}_7,
        {%- endfor %}
        activity.purchases_28,
        activity.levels_failed_of_last_day,
        activity.levels_failed_7
        / nullif(activity.levels_completed_7 + activity.levels_failed_7, 0)
            as level_failure_share_7,
        activity.offers_refused_7 / nullif(activity.offers_shown_7, 0) as offer_refusal_share_7,
        activity.waited_s_7 / nullif(activity.matchmakings_7, 0) as matchmaking_wait_s_7,
        players.platform,
        players.country,
        players.network,
        activity._batch_id
    from activity
    left outer join players
        on
            activity.game_id = players.game_id
            and activity.player_id = players.player_id

)

select * from player_profile
