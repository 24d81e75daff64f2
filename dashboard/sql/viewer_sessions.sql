-- One row per session that the chosen viewer began in the interval, or that of any viewer: those
-- with most trouble first.
with

session_days as (

    select
        user_id,
        video_id,
        unnest(sessions) as session
    from silver.playback_session_days
    where
        session_date >= cast(getvariable('from_minute') as date)
        and session_date <= cast(getvariable('to_minute') as date)
        and (getvariable('viewer') is null or user_id = getvariable('viewer'))
        and (getvariable('video_id') is null or video_id = getvariable('video_id'))

),

viewer_sessions as (

    select
        user_id,
        video_id,
        session.session_key,
        session.first_event_at,
        session.last_event_at,
        session.device_type,
        session.app_version,
        session.startup_ms,
        session.played_s,
        session.stalls,
        session.stalled_ms,
        session.errors,
        session.failure_class,
        session.failure_code
    from session_days
    where
        session.last_event_at >= getvariable('from_minute')
        and session.first_event_at < getvariable('to_minute')
        and (
            getvariable('device_type') is null
            or session.device_type = getvariable('device_type')
        )
        and (
            getvariable('app_version') is null
            or session.app_version = getvariable('app_version')
        )

)

select *
from viewer_sessions
order by
    failure_class is not null desc,
    stalled_ms desc nulls last,
    startup_ms desc nulls last,
    user_id,
    first_event_at
limit 12
