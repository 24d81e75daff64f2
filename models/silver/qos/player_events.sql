{#- One row per event that a player reported, however often it was delivered. -#}
{%- set key = ['event_date', 'event_id'] -%}
{%- set delivery_order = ['_arrived_at', '_shard', '_sequence', '_subsequence'] -%}
{{
    config(
        unique_key = key,
        prune_by = 'event_date',
        latest_by = delivery_order,
        clustered_by = ['event_date', 'user_id']
    )
}}

with

events_delivered as (

    select
        cast(event_at as date) as event_date,
        *
    from {{ ref('player_events_parsed') }}
    where {{ is_new('_batch_id') }}

),

ranked_deliveries as (

    select
        *,
        max(_batch_id) over (partition by {{ key | join(', ') }}) as _newest_batch_id,
        row_number() over (
            partition by {{ key | join(', ') }}
            order by {{ delivery_order | join(' desc, ') }} desc
        ) as delivery_rank
    from events_delivered

),

player_events as (

    select
        event_date,
        event_id,
        event_at,
        client_at,
        type,
        user_id,
        video_id,
        playlist_type,
        at_s,
        duration_s,
        time_ms,
        rtt_ms,
        connection_type,
        package,
        resolution,
        fps,
        bitrate_bps,
        bitrate_from_bps,
        bitrate_to_bps,
        direction,
        seek_from_s,
        seek_to_s,
        buffer_type,
        message,
        cdn_tracking_id,
        session_id,
        seq,
        app_version,
        app_type,
        device_type,
        os,
        cdn,
        error_code,
        error_fatal,
        error_class,
        flags,
        _arrived_at,
        _shard,
        _sequence,
        _subsequence,
        _newest_batch_id as _batch_id
    from ranked_deliveries
    where delivery_rank = 1

)

select * from player_events
