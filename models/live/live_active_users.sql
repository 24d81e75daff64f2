{#- One row per two minutes, a new one each minute: about how many viewers were watching. -#}
{{
    config(
        group = 'qos',
        unique_key = ['window_start'],
        prune_by = 'window_start',
        clustered_by = ['window_start'],
        trigger_seconds = 5
    )
}}

with

seconds_shown as (

    select
        _arrived_at,
        user_id
    from {{ stream(
        ref('player_events_parsed'),
        event_time='_arrived_at',
        delay='30 seconds',
        where="type = 'stream' and user_id is not null"
    ) }} as player_events

),

live_active_users as (

    select
        window(_arrived_at, '2 minutes', '1 minute').start as window_start,
        approx_count_distinct(user_id) as active_users
    from seconds_shown
    group by window(_arrived_at, '2 minutes', '1 minute')

)

select * from live_active_users
