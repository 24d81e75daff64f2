{#- One row per player event, beside the CDN's log row of the request that it names, whichever of
    them came first. Events without one stay. -#}
{{
    config(
        unique_key = ['event_date', 'event_id'],
        prune_by = 'event_date',
        clustered_by = ['event_date', 'video_id']
    )
}}

with

events as (

    select *
    from {{ ref('player_events') }}
    where
        {{ is_near_news('player_events', 'event_date', 0) }}
        or {{ is_near_news(
            'cdn_logs', 'logdate', 1, day='event_date', cursor='_logs_batch_id'
        ) }}

),

requests as (

    select *
    from {{ ref('cdn_logs') }}
    where
        {{ is_near_news('player_events', 'event_date', 1, day='logdate') }}
        or {{ is_near_news('cdn_logs', 'logdate', 2, cursor='_logs_batch_id') }}

),

new_requests as (

    select
        requestid,
        max(logdate) as logdate
    from requests
    where {{ is_new('_batch_id', cursor='_logs_batch_id') }}
    group by requestid

),

events_to_join as (

    select events.*
    from events
    left outer join new_requests
        on
            events.cdn_tracking_id = new_requests.requestid
            and {{ is_log_of('events.event_date', 'new_requests.logdate') }}
    where
        {{ is_new('events._batch_id') }}
        or new_requests.requestid is not null

),

ids_to_find as (

    select distinct cdn_tracking_id
    from events_to_join

),

-- an id stands once, whatever days its log rows name
requests_found as (

    select
        requests.requestid,
        max_by(
            struct(
                requests.logdate, requests.requested_at, requests.location, requests.origin,
                requests.isp, requests.is_hosting, requests.isbot, requests.browserfamily,
                requests.osfamily, requests.resulttype, requests.detailed_result_type,
                requests.is_client_abort, requests.status, requests.first_byte_s,
                requests.origin_first_byte_s, requests.time_taken_s, requests._batch_id
            ),
            requests.logdate
        ) as request
    from requests
    left semi join ids_to_find
        on requests.requestid = ids_to_find.cdn_tracking_id
    group by requests.requestid

),

events_with_request as (

    select
        events_to_join.*,
        requests_found.request
    from events_to_join
    left outer join requests_found
        on
            events_to_join.cdn_tracking_id = requests_found.requestid
            and {{ is_log_of('events_to_join.event_date', 'requests_found.request.logdate') }}

),

video_activity as (

    select
        event_date,
        event_id,
        event_at,
        _arrived_at as arrived_at,
        type,
        user_id,
        video_id,
        playlist_type,
        at_s,
        duration_s,
        time_ms,
        buffer_type,
        rtt_ms,
        connection_type,
        resolution,
        bitrate_bps,
        session_id,
        app_version,
        device_type,
        flags,
        cdn_tracking_id,
        request is not null as is_joined,
        request.requested_at,
        request.location,
        request.origin,
        request.isp,
        request.is_hosting,
        request.isbot,
        request.browserfamily,
        request.osfamily,
        request.resulttype,
        request.detailed_result_type,
        request.is_client_abort,
        request.status,
        request.first_byte_s,
        request.origin_first_byte_s,
        request.time_taken_s,
        _batch_id,
        request._batch_id as _logs_batch_id
    from events_with_request

)

select * from video_activity
