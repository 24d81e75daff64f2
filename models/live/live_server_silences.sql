{#- One row per ten minutes, new ones each five, and server of a game: its last silence of more than
    two minutes. Five minutes apart, so that each silence begins in a window that sees it. -#}
{{
    config(
        group = 'games',
        unique_key = ['window_start', 'game_id', 'server_id'],
        prune_by = 'window_start',
        clustered_by = ['window_start'],
        trigger_seconds = 2
    )
}}

with

heartbeats as (

    select
        event_at,
        game_id,
        server_id
    -- a clock may be a minute ahead and count as right (game_clock_tolerance_seconds)
    from {{ stream(
        ref('game_heartbeats_parsed'),
        event_time='event_at',
        delay='10 minutes',
        where="game_id <> '' and server_id is not null"
            " and event_at <= _modified_at + interval 1 minute"
    ) }} as deliveries

),

-- of a whole game: what shows that a server is silent is that the others are not
heartbeats_of_games as (

    select
        window(event_at, '10 minutes', '5 minutes').start as window_start,
        game_id,
        max(event_at) as game_seen_at,
        collect_set(named_struct('server_id', server_id, 'event_at', event_at)) as heartbeats
    from heartbeats
    group by window(event_at, '10 minutes', '5 minutes'), game_id

),

servers as (

    select
        window_start,
        game_id,
        game_seen_at,
        heartbeats,
        explode(array_distinct(heartbeats.server_id)) as server_id
    from heartbeats_of_games

),

heartbeats_of_servers as (

    select
        window_start,
        game_id,
        server_id,
        game_seen_at,
        array_sort(filter(
            heartbeats, heartbeat -> heartbeat.server_id = servers.server_id
        ).event_at) as seen_at
    from servers

),

pauses as (

    select
        window_start,
        game_id,
        server_id,
        seen_at,
        transform(seen_at, (began_at, number) -> named_struct(
            'began_at', began_at,
            'seconds', timestampdiff(
                second, began_at, coalesce(get(seen_at, number + 1), game_seen_at)
            ),
            'is_over', number + 1 < size(seen_at)
        )) as pauses
    from heartbeats_of_servers

),

silences as (

    select
        window_start,
        game_id,
        server_id,
        seen_at,
        try_element_at(filter(pauses, pause -> pause.seconds > 120), -1) as silence
    from pauses

),

live_server_silences as (

    select
        window_start,
        game_id,
        server_id,
        size(seen_at) as heartbeats,
        element_at(seen_at, -1) as last_heartbeat_at,
        silence.began_at as silent_since,
        cast(silence.seconds as bigint) as silent_seconds,
        case when silence.is_over then 'back' when not silence.is_over then 'silent' end as state
    from silences

)

select * from live_server_silences
