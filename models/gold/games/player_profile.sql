{#- One row per player and day, UTC, before which they had played within a week: what was known of
    them when that day began, by which it can be foretold who leaves. Each day is profiled as soon as
    the game has an event of it, and anew when an event of the 28 days before arrives late, or
    leaves. -#}
{%- set reach_days, window_days = 7, 28 -%}
{{
    config(
        unique_key = ['profile_date', 'game_id', 'player_id'],
        prune_by = 'profile_date',
        rewrites = ['profile_date', 'game_id', 'player_id'],
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
    where
        {{ is_near_news('game_player_days', 'activity_date', window_days) }}
        or {{ is_near_news('game_moves', 'left_at', window_days, day='activity_date') }}
        or {{ is_before_rest('activity_date', window_days) }}

),

moves as (

    select
        game_id,
        player_id,
        cast(left_at as date) as activity_date
    from {{ ref('game_moves') }}
    where is_play and {{ has_moved('_batch_id') }}

),

player_days_with_news as (

    select
        game_id,
        player_id,
        activity_date
    from player_days
    where {{ is_new('_batch_id') }}

    union distinct

    select
        game_id,
        player_id,
        activity_date
    from moves

),

-- the days of a game, beside the one of them before each
game_days as (

    select
        game_id,
        activity_date,
        lag(activity_date) over (
            partition by game_id order by activity_date
        ) as previous_date
    from {{ ref('players_daily') }}

),

games as (

    select
        game_id,
        max(activity_date) as newest_date
    from game_days
    group by game_id

),

profiles_formed as (

    {% if is_incremental() -%}
    select
        game_id,
        player_id,
        profile_date
    from {{ this }}
    where
        {{ is_near_news('game_player_days', 'activity_date', 0, day='profile_date') }}
        or {{ is_near_news(
            'game_moves', 'least(happened_on, cast(left_at as date))', 0, day='profile_date',
            last_day='greatest(happened_on, cast(left_at as date))'
        ) }}
    {%- else -%}
    select
        game_id,
        player_id,
        activity_date as profile_date
    from player_days
    where false
    {%- endif %}

),

new_days as (

    select game_days.*
    from game_days
    left semi join player_days_with_news
        on
            game_days.game_id = player_days_with_news.game_id
            and game_days.activity_date = player_days_with_news.activity_date
    left anti join profiles_formed
        on
            game_days.game_id = profiles_formed.game_id
            and game_days.activity_date = profiles_formed.profile_date

),

-- and the days of rest before it
new_dates as (

    select distinct
        game_id,
        explode(
            sequence(coalesce(date_add(previous_date, 1), activity_date), activity_date)
        ) as profile_date
    from new_days

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

-- who may have been profiled because of a day that was left
reach_of_moves as (

    select
        game_id,
        player_id,
        explode(
            sequence(date_add(activity_date, 1), date_add(activity_date, {{ reach_days }}))
        ) as profile_date
    from moves

),

-- the newest day of a game may have been left
profiles_too_late as (

    select profiles_formed.*
    from profiles_formed
    inner join games
        on
            profiles_formed.game_id = games.game_id
            and profiles_formed.profile_date > games.newest_date

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

    union distinct

    select *
    from reach_of_moves

    union distinct

    select
        game_id,
        player_id,
        profile_date
    from profiles_too_late

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
        profiles_to_form.game_id,
        profiles_to_form.player_id,
        profiles_to_form.profile_date <= games.newest_date as is_begun,
        datediff(profiles_to_form.profile_date, player_days.activity_date) as days_ago,
        player_days.sessions,
        {%- for name in counts %}
        player_days.{{ name }},
        {%- endfor %}
        player_days._batch_id
    from profiles_to_form
    left outer join games
        on profiles_to_form.game_id = games.game_id
    left outer join player_days
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
        -- none of who is to be profiled no more
        case
            when bool_or(is_begun) and min(days_ago) <= {{ reach_days }} then max(_batch_id)
        end as _batch_id
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
