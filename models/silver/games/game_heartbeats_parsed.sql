{#- One row per bronze record of a game server's heartbeat: which server was alive, and when. -#}
{{ config(materialized = 'view') }}

with

heartbeats_delivered as (

    select
        data,
        _modified_at,
        _bucket,
        _key,
        _version,
        _ordinal
    from {{ source('bronze_games', 'game_server_heartbeat') }}

),

records as (

    select
        *,
        from_json(data, '{{ game_envelope_type() }}') as record
    from heartbeats_delivered

),

typed as (

    select
        {{ game_envelope() }},
        _modified_at,
        _bucket,
        _key,
        _version,
        _ordinal
    from records

),

game_heartbeats_parsed as (

    select
        game_id,
        server_id,
        {{ game_event_at() }} as event_at,
        _modified_at,
        _bucket,
        _key,
        _version,
        _ordinal
    from typed

)

select * from game_heartbeats_parsed
