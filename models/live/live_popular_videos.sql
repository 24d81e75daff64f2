{#- One row per two minutes, a new one each thirty seconds, and video: how often it was begun. -#}
{{
    config(
        group = 'qos',
        unique_key = ['window_start', 'video_id'],
        prune_by = 'window_start',
        clustered_by = ['window_start'],
        trigger_seconds = 5
    )
}}

with

views as (

    select
        _arrived_at,
        video_id
    -- a play further on goes on after a pause
    from {{ stream(
        ref('player_events_parsed'),
        event_time='_arrived_at',
        delay='30 seconds',
        where="type = 'play' and coalesce(at_s, 0) < 0.5 and video_id is not null"
    ) }} as player_events

),

live_popular_videos as (

    select
        window(_arrived_at, '2 minutes', '30 seconds').start as window_start,
        video_id,
        count(*) as recent_views
    from views
    group by window(_arrived_at, '2 minutes', '30 seconds'), video_id

)

select * from live_popular_videos
