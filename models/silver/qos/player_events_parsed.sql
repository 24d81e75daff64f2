{#- One row per bronze record of a player event, typed; what is wrong with it stands in flags. -#}
{{ config(materialized = 'view') }}
{%- set texts = [
    'user_id', 'video_id', 'playlist_type', 'at', 'duration', 'time_millisecond', 'rtt',
    'connection_type', 'package', 'resolution', 'fps', 'avg_bitrate', 'bitrate_from',
    'bitrate_to', 'direction', 'seek_from', 'seek_to', 'buffer_type', 'message',
    'cdn_tracking_id', 'session_id', 'seq', 'app_version', 'app_type', 'device_type', 'os',
    'cdn', 'error_code', 'error_fatal', 'error_class',
] %}

with

events_delivered as (

    select
        type,
        ts,
        jsonData,
        _arrived_at,
        _shard,
        _sequence,
        _subsequence,
        _batch_id
    from {{ source('bronze_qos', 'player_events') }}

),

records as (

    select
        *,
        from_json(
            jsonData,
            '{{ texts | join(" string, ") }} string, _unreadable string',
            map('columnNameOfCorruptRecord', '_unreadable')
        ) as record
    from events_delivered

),

fields as (

    select
        type,
        ts,
        jsonData,
        _arrived_at,
        _shard,
        _sequence,
        _subsequence,
        _batch_id,
        {% for text in texts %}
        {{ supplied('record.' ~ text) }} as {{ text }},
        {% endfor %}
        record is not null and record._unreadable is null as is_object
    from records

),

typed as (

    select
        -- there is no event id: the same bytes are the same event
        md5(jsonData) as event_id,
        nullif(type, '') as type,
        ts as client_at,
        abs(timestampdiff(second, _arrived_at, ts))
        > {{ var('player_clock_tolerance_hours') }} * 3600 as is_clock_wrong,
        is_object,
        user_id,
        video_id,
        lower(playlist_type) as playlist_type,
        at as at_text,
        try_cast(at as double) as at_s,
        duration as duration_text,
        try_cast(duration as double) as duration_s,
        time_millisecond as time_text,
        cast(try_cast(time_millisecond as decimal(20, 0)) as bigint) as time_ms,
        -- -1: the browser does not tell
        nullif(try_cast(rtt as int), -1) as rtt_ms,
        nullif(lower(connection_type), 'not available') as connection_type,
        lower(package) as package,
        lower(resolution) as resolution,
        try_cast(fps as double) as fps,
        -- 0: there is none
        nullif(try_cast(avg_bitrate as bigint), 0) as bitrate_bps,
        nullif(try_cast(bitrate_from as bigint), 0) as bitrate_from_bps,
        nullif(try_cast(bitrate_to as bigint), 0) as bitrate_to_bps,
        lower(direction) as direction,
        try_cast(seek_from as double) as seek_from_s,
        try_cast(seek_to as double) as seek_to_s,
        lower(buffer_type) as buffer_type,
        message,
        cdn_tracking_id,
        cdn_tracking_id rlike '^[A-Za-z0-9_-]{54}==$' as is_tracking_id,
        session_id,
        try_cast(seq as bigint) as seq,
        app_version,
        lower(app_type) as app_type,
        lower(device_type) as device_type,
        os,
        lower(cdn) as cdn,
        error_code,
        try_cast(error_fatal as boolean) as error_fatal,
        lower(error_class) as error_class,
        jsonData,
        _arrived_at,
        _shard,
        _sequence,
        _subsequence,
        _batch_id
    from fields

),

player_events_parsed as (

    select
        event_id,
        -- a clock that is days off says nothing: the event came about shortly before it arrived
        case
            when client_at is null or is_clock_wrong then _arrived_at
            else client_at
        end as event_at,
        client_at,
        type,
        user_id,
        video_id,
        playlist_type,
        at_s,
        duration_s,
        case when time_ms between 0 and {{ var('longest_wait_ms') }} then time_ms end as time_ms,
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
        case when is_tracking_id then cdn_tracking_id end as cdn_tracking_id,
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
        array_compact(array(
            case when not is_object then 'not_an_object' end,
            case when type is null then 'missing_type' end,
            case
                when
                    type not in (
                        'play', 'firstframe', 'buffer', 'stream', 'step', 'seek', 'pause', 'stop',
                        'error'
                    )
                    then 'unknown_type'
            end,
            case when user_id is null then 'missing_user' end,
            case when video_id is null then 'missing_video' end,
            case when client_at is null then 'missing_timestamp' end,
            case when is_clock_wrong then 'clock_wrong' end,
            case when playlist_type is null then 'missing_playlist_type' end,
            case
                when
                    {{ any_unreadable({
                        'at_text': 'at_s', 'duration_text': 'duration_s', 'time_text': 'time_ms',
                    }) }}
                    then 'not_a_number'
            end,
            -- counted from a mark that was never set, or long ago
            case
                when time_ms not between 0 and {{ var('longest_wait_ms') }}
                    then 'implausible_duration'
            end,
            case
                when buffer_type = 'screenfreezedbuffer' and coalesce(at_s, 0) <= 0
                    then 'start_as_stall'
            end,
            case
                when cdn_tracking_id is not null and not is_tracking_id
                    then 'tracking_id_invalid'
            end,
            -- of 54 letters one is a capital
            case
                when is_tracking_id and cdn_tracking_id = lower(cdn_tracking_id)
                    then 'tracking_id_lower_cased'
            end
        )) as flags,
        _arrived_at,
        _shard,
        _sequence,
        _subsequence,
        _batch_id
    from typed

)

select * from player_events_parsed
