{#- One row per session of a player, formed anew whenever an event of it arrives. It ends with its
    last event, whether the game said so or not. Refunds are left out: the store tells of them, days
    after the session whose name they bear. -#}
{{
    config(
        unique_key = ['game_id', 'player_id', 'session_id'],
        clustered_by = ['game_id', 'player_id']
    )
}}

with

events as (

    select *
    from {{ ref('game_events') }}
    where
        player_id is not null
        and session_id is not null
        and event_type <> 'iap_refund'

),

sessions_with_news as (

    select distinct
        game_id,
        player_id,
        session_id
    from events
    where {{ is_new('_batch_id') }}

),

-- a session is shorter than two days
events_to_read as (

    select events.*
    from events
    left semi join sessions_with_news
        on
            events.game_id = sessions_with_news.game_id
            and events.player_id = sessions_with_news.player_id
            and events.session_id = sessions_with_news.session_id
    where {{ is_near_news('game_events', 'event_date', 2) }}

),

events_with_pause as (

    select
        *,
        unix_millis(event_at) - unix_millis(lag(event_at) over (
            partition by game_id, player_id, session_id order by event_at, event_id
        )) as pause_ms
    from events_to_read

),

game_sessions as (

    select
        game_id,
        player_id,
        session_id,
        min(event_at) as started_at,
        cast(min(event_at) as date) as started_on,
        max(event_at) as ended_at,
        count_if(event_type = 'session_end') = 0 as is_end_inferred,
        -- while nothing is done nobody plays
        coalesce(sum(pause_ms) filter (
            where pause_ms <= {{ var('game_pause_minutes') }} * 60000
        ), 0) / 1000 as played_s,
        count(*) as events,
        count_if(event_type = 'level_start') as levels,
        count_if(event_type = 'match_start') as matches,
        count_if(event_type = 'ad_impression') as ads,
        count_if(event_type = 'iap_purchase') as purchases,
        min_by(platform, struct(event_at, event_id)) as platform,
        min_by(country, struct(event_at, event_id)) as country,
        min_by(app_version, struct(event_at, event_id)) as app_version,
        min_by(server_id, struct(event_at, event_id)) as server_id,
        max(_batch_id) as _batch_id
    from events_with_pause
    group by game_id, player_id, session_id

)

select * from game_sessions
