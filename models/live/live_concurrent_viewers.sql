{#- One row per minute, a new one each thirty seconds, and video: about how many watched it. -#}
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

seconds_shown as (

    select
        _arrived_at,
        video_id,
        user_id
    from {{ stream(
        ref('player_events_parsed'),
        event_time='_arrived_at',
        delay='30 seconds',
        where="type = 'stream' and user_id is not null and video_id is not null"
    ) }} as player_events

),

live_concurrent_viewers as (

    select
        window(_arrived_at, '1 minute', '30 seconds').start as window_start,
        video_id,
        approx_count_distinct(user_id) as concurrent_viewers
    from seconds_shown
    group by window(_arrived_at, '1 minute', '30 seconds'), video_id

)

select * from live_concurrent_viewers
