{#- One row per five minutes, a new one each minute: the share of clients that report errors. -#}
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

events as (

    select
        _arrived_at,
        user_id,
        -- an end that is reported as an error names a sentence as its request
        type = 'error' and not array_contains(flags, 'tracking_id_invalid') as is_error
    from {{ stream(
        ref('player_events_parsed'),
        event_time='_arrived_at',
        delay='30 seconds',
        where='user_id is not null and type is not null'
    ) }} as player_events

),

clients as (

    select
        window(_arrived_at, '5 minutes', '1 minute').start as window_start,
        approx_count_distinct(user_id) as active_clients,
        approx_count_distinct(case when is_error then user_id end) as failing_clients
    from events
    group by window(_arrived_at, '5 minutes', '1 minute')

),

live_client_errors as (

    select
        window_start,
        active_clients,
        failing_clients,
        failing_clients / active_clients as failing_share
    from clients

)

select * from live_client_errors
