-- One row per event of the chosen viewer in the interval, beside the CDN's row of its request.
with

viewer_events as (

    select
        event_at,
        type,
        video_id,
        at_s,
        time_ms,
        buffer_type,
        bitrate_bps,
        location,
        isp,
        origin,
        resulttype,
        status,
        first_byte_s
    from gold.video_activity
    where
        event_date >= cast(getvariable('from_minute') as date)
        and event_date <= cast(getvariable('to_minute') as date)
        and event_at >= getvariable('from_minute')
        and event_at < getvariable('to_minute')
        and user_id = getvariable('viewer')
        and (getvariable('video_id') is null or video_id = getvariable('video_id'))

)

select *
from viewer_events
order by event_at, type
limit 20000
